/**
 * What a model reads when nothing else is given to find its outlier columns on: prose, speech, numbers, a list, code and other languages, some
 * 400 tokens.
 */
export const calibrationText = `The ferry left the harbour at half past six, a little later than the timetable promised, and nobody on board seemed to mind. A woman in a green coat read a newspaper from 1987 that she had found under her seat; two children counted the gulls behind the stern and disagreed about the result.

"Is it far?" asked the younger one.
"Forty minutes," said their father, "unless the wind turns. Then it is forty-five."

The island has 312 inhabitants, one school, and a lighthouse that was built in 1871 and automated in 1974. Its highest point lies 104.6 metres above the sea. Most of the soil is sandy loam over granite, which holds little water, so that farmers grow barley, potatoes and, since about 2005, hops. In the museum (open Tuesday to Saturday, 10:00–16:30, admission $4.50) a model shows how the glaciers withdrew; the president of the local society, Dr. Anna Lindqvist, explains it in four languages.

Things to bring:
1. a warm jacket, even in July;
2. cash, because the café does not take cards;
3. binoculars.

def mean(values):
    total = sum(values)
    return total / len(values) if values else None

Der Leuchtturm steht seit über hundert Jahren dort. Il pleut souvent en novembre. ¿Quién vive en la última casa? In physics, energy is neither created nor destroyed: E = mc², and the total of a closed system stays the same. However, the question which the committee had been asked to answer was a different one, namely whether the treaty of 1648 still applied to fishing rights, and on that point its members – nine lawyers, two historians and a retired captain – never agreed.`;
