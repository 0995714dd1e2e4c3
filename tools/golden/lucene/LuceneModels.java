import io.anserini.rerank.RerankerContext;
import io.anserini.rerank.ScoredDocuments;
import io.anserini.rerank.lib.Rm3Reranker;
import io.anserini.search.SearchCollection;
import java.io.BufferedReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.core.WhitespaceAnalyzer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.FieldType;
import org.apache.lucene.document.BinaryDocValuesField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.Term;
import org.apache.lucene.sandbox.search.CombinedFieldQuery;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.TopDocs;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.search.similarities.LMDirichletSimilarity;
import org.apache.lucene.search.similarities.LMJelinekMercerSimilarity;
import org.apache.lucene.search.similarities.Similarity;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.util.BytesRef;

/**
 * The oracle for the other word models of @lfm/retrieval: Lucene's language models and combined fields, Anserini's RM3, over texts whose words stand
 * between spaces and are taken as they are.
 *
 *   java LuceneModels.java DOCS QUERIES K   (TSV id, title, text; id, text)   MODEL QUERY RANK DOC SCORE a line
 */
public class LuceneModels {
  static Analyzer analyzer = new WhitespaceAnalyzer();

  static List<String> tokens(String text) throws Exception {
    List<String> out = new ArrayList<>();
    try (TokenStream stream = analyzer.tokenStream("contents", text)) {
      CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
      stream.reset();
      while (stream.incrementToken()) out.add(term.toString());
      stream.end();
    }
    return out;
  }

  static Query bag(String text) throws Exception {
    Map<String, Integer> counts = new LinkedHashMap<>();
    for (String t : tokens(text)) counts.merge(t, 1, Integer::sum);
    BooleanQuery.Builder builder = new BooleanQuery.Builder();
    for (Map.Entry<String, Integer> e : counts.entrySet())
      builder.add(new BoostQuery(new TermQuery(new Term("contents", e.getKey())), e.getValue()), BooleanClause.Occur.SHOULD);
    return builder.build();
  }

  static Query combined(String text, float titleWeight) throws Exception {
    BooleanQuery.Builder builder = new BooleanQuery.Builder();
    Map<String, Integer> counts = new LinkedHashMap<>();
    for (String t : tokens(text)) counts.merge(t, 1, Integer::sum);
    for (Map.Entry<String, Integer> e : counts.entrySet()) {
      Query one = new CombinedFieldQuery.Builder().addField("title", titleWeight).addField("body", 1f).addTerm(new BytesRef(e.getKey())).build();
      builder.add(new BoostQuery(one, e.getValue()), BooleanClause.Occur.SHOULD);
    }
    return builder.build();
  }

  static IndexSearcher searcher;
  static PrintStream out;

  static void print(String model, String query, TopDocs hits) throws Exception {
    int rank = 0;
    for (ScoreDoc hit : hits.scoreDocs) out.println(model + " " + query + " " + (++rank) + " " + searcher.doc(hit.doc).get("id") + " " + hit.score);
  }

  public static void main(String[] args) throws Exception {
    out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    int k = Integer.parseInt(args[2]);
    ByteBuffersDirectory directory = new ByteBuffersDirectory();
    FieldType vectors = new FieldType(TextField.TYPE_NOT_STORED);
    vectors.setStoreTermVectors(true);
    try (IndexWriter writer = new IndexWriter(directory, new IndexWriterConfig(analyzer)); BufferedReader in = Files.newBufferedReader(Path.of(args[0]))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] row = line.split("\t", -1);
        Document doc = new Document();
        doc.add(new StringField("id", row[0], Field.Store.YES));
        doc.add(new BinaryDocValuesField("id", new BytesRef(row[0])));
        doc.add(new Field("contents", (row[1] + " " + row[2]).trim(), vectors));
        if (!row[1].isEmpty()) doc.add(new TextField("title", row[1], Field.Store.NO));
        if (!row[2].isEmpty()) doc.add(new TextField("body", row[2], Field.Store.NO));
        writer.addDocument(doc);
      }
      writer.forceMerge(1);
    }
    searcher = new IndexSearcher(DirectoryReader.open(directory));
    Map<String, Similarity> models = new LinkedHashMap<>();
    models.put("dirichlet", new LMDirichletSimilarity(1000f));
    models.put("jelinek-mercer", new LMJelinekMercerSimilarity(0.1f));
    SearchCollection.Args rest = new SearchCollection.Args();
    rest.hits = k;
    Rm3Reranker rm3 = new Rm3Reranker(analyzer, null, "contents", 10, 5, 0.5f, false, true);
    for (String line : Files.readAllLines(Path.of(args[1]))) {
      String[] row = line.split("\t", -1);
      for (Map.Entry<String, Similarity> model : models.entrySet()) {
        searcher.setSimilarity(model.getValue());
        print(model.getKey(), row[0], searcher.search(bag(row[1]), k));
      }
      searcher.setSimilarity(new BM25Similarity(0.9f, 0.4f));
      print("bm25f", row[0], searcher.search(combined(row[1], 2f), k));
      Query query = bag(row[1]);
      ScoredDocuments first = ScoredDocuments.fromTopDocs(searcher.search(query, 5), searcher);
      ScoredDocuments hits = rm3.rerank(first, new RerankerContext<>(searcher, row[0], query, null, row[1], tokens(row[1]), null, rest));
      for (int i = 0; i < hits.scores.length; i++) out.println("rm3 " + row[0] + " " + (i + 1) + " " + hits.documents[i].get("id") + " " + hits.scores[i]);
    }
    out.flush();
  }
}
