import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.Expression;

/**
 * Apache's evaluator of conditions. Input lines: a condition, a tab, encoded properties, both in base 64. Output lines:
 * `true`, `false`, `unknown` (also for whatever throws), or `refused` if it is no condition.
 */
public final class Evaluator {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.isEmpty()) {
                out.println("done");
                out.flush();
                continue;
            }
            int tab = line.indexOf('\t');
            out.println(evaluate(text(line.substring(0, tab)), text(line.substring(tab + 1))));
        }
    }

    private static String text(String base64) {
        return new String(Base64.getDecoder().decode(base64), StandardCharsets.UTF_8);
    }

    private static String evaluate(String condition, String properties) {
        Expression compiled;
        try {
            compiled = FilterFactory.INSTANCE.get("SQL92").compile(condition);
        } catch (Throwable e) {
            return "refused";
        }
        try {
            Object value = compiled.evaluate(
                new MessageEvaluationContext(MessageDecoder.string2messageProperties(properties)));
            return value instanceof Boolean ? value.toString() : "unknown";
        } catch (Throwable e) {
            return "unknown";
        }
    }
}
