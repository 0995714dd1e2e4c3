import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.StopFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.en.EnglishPossessiveFilter;
import org.apache.lucene.analysis.en.PorterStemFilter;
import org.apache.lucene.analysis.standard.StandardTokenizer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.SortedDocValuesField;
import org.apache.lucene.document.StringField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.index.Term;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.BoostQuery;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.Sort;
import org.apache.lucene.search.SortField;
import org.apache.lucene.search.TermQuery;
import org.apache.lucene.search.similarities.BM25Similarity;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.util.BytesRef;

/**
 * The oracle for the BM25 of @lfm/retrieval: real Lucene with the analyzer and query of Anserini's "flat" BEIR runs
 * (StandardTokenizer, EnglishPossessiveFilter, LowerCaseFilter, StopFilter, PorterStemFilter; a bag of boosted terms).
 *
 *   java LuceneBm25.java analyze                     < lines            tokens of each line, tab separated
 *   java LuceneBm25.java search DOCS QUERIES K1 B K  (TSV id, text)     TREC run on stdout
 * In texts U+0001 stands for a line break.
 */
public class LuceneBm25 {
  static final class English extends Analyzer {
    @Override protected TokenStreamComponents createComponents(String field) {
      Tokenizer source = new StandardTokenizer();
      TokenStream s = new LowerCaseFilter(new EnglishPossessiveFilter(source));
      return new TokenStreamComponents(source, new PorterStemFilter(new StopFilter(s, EnglishAnalyzer.ENGLISH_STOP_WORDS_SET)));
    }
  }

  static List<String> tokens(Analyzer analyzer, String text) throws IOException {
    List<String> out = new ArrayList<>();
    try (TokenStream stream = analyzer.tokenStream("contents", text)) {
      CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
      stream.reset();
      while (stream.incrementToken()) out.add(term.toString());
      stream.end();
    }
    return out;
  }

  static List<String[]> readTsv(String path) throws IOException {
    List<String[]> rows = new ArrayList<>();
    try (BufferedReader in = Files.newBufferedReader(Path.of(path), StandardCharsets.UTF_8)) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        int tab = line.indexOf('\t');
        rows.add(new String[] {line.substring(0, tab), line.substring(tab + 1).replace('\u0001', '\n')});
      }
    }
    return rows;
  }

  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    Analyzer analyzer = new English();
    if (args[0].equals("analyze")) {
      BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      for (String line = in.readLine(); line != null; line = in.readLine()) out.println(String.join("\t", tokens(analyzer, line.replace('\u0001', '\n'))));
      out.flush();
      return;
    }
    BM25Similarity similarity = new BM25Similarity(Float.parseFloat(args[3]), Float.parseFloat(args[4]));
    int k = Integer.parseInt(args[5]);
    ByteBuffersDirectory directory = new ByteBuffersDirectory();
    IndexWriterConfig config = new IndexWriterConfig(analyzer);
    config.setSimilarity(similarity);
    try (IndexWriter writer = new IndexWriter(directory, config)) {
      for (String[] row : readTsv(args[1])) {
        Document doc = new Document();
        doc.add(new StringField("id", row[0], Field.Store.YES));
        doc.add(new SortedDocValuesField("id", new BytesRef(row[0])));
        doc.add(new TextField("contents", row[1], Field.Store.NO));
        writer.addDocument(doc);
      }
      writer.forceMerge(1);
    }
    IndexSearcher searcher = new IndexSearcher(DirectoryReader.open(directory));
    searcher.setSimilarity(similarity);
    Sort sort = new Sort(SortField.FIELD_SCORE, new SortField("id", SortField.Type.STRING));
    for (String[] query : readTsv(args[2])) {
      Map<String, Integer> bag = new LinkedHashMap<>();
      for (String t : tokens(analyzer, query[1])) bag.merge(t, 1, Integer::sum);
      BooleanQuery.Builder builder = new BooleanQuery.Builder();
      for (Map.Entry<String, Integer> e : bag.entrySet())
        builder.add(new BoostQuery(new TermQuery(new Term("contents", e.getKey())), e.getValue()), BooleanClause.Occur.SHOULD);
      int rank = 0;
      for (ScoreDoc hit : searcher.search(builder.build(), k, sort, true).scoreDocs)
        out.println(query[0] + " Q0 " + searcher.doc(hit.doc).get("id") + " " + (++rank) + " " + ((org.apache.lucene.search.FieldDoc) hit).fields[0] + " lucene");
    }
    out.flush();
  }
}
