package ringmq.compat;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * An unmodified Java client that does what it is told: one JSON order per line of standard input, one
 * JSON event per line of standard output.
 *
 * <p>Orders run concurrently, each on a thread of its own, so that one JVM plays many roles. Every order
 * has an `id`, which all of its events repeat; its last event is `done`, or `broken` if it could not be
 * carried out. `stop` ends a running order; the end of the input ends the process at once, without a
 * shutdown of its clients.
 */
public final class Main {
    private static final Map<String, Order> RUNNING = new ConcurrentHashMap<>();

    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonObject json = JsonParser.parseString(line).getAsJsonObject();
            String id = json.get("id").getAsString();
            if (json.get("do").getAsString().equals("stop")) {
                RUNNING.get(id).stop();
                continue;
            }
            Order order = new Order(id, json);
            RUNNING.put(id, order);
            Thread thread = new Thread(() -> carryOut(order), id);
            thread.setDaemon(true);
            thread.start();
        }
        // A client that dies without saying goodbye is a case of its own, so nothing is shut down here.
        Runtime.getRuntime().halt(0);
    }

    /** The shutdown of a client that nobody waits for: the library takes seconds over it. */
    static void inBackground(Runnable shutdown) {
        Thread thread = new Thread(shutdown);
        thread.setDaemon(true);
        thread.start();
    }

    private static void carryOut(Order order) {
        try {
            switch (order.text("do")) {
                case "send":
                    Sender.run(order);
                    break;
                case "consume":
                    PushReader.run(order);
                    break;
                case "lite":
                    LiteReader.run(order);
                    break;
                case "pull":
                    Puller.pull(order);
                    break;
                case "offsets":
                    Puller.offsets(order);
                    break;
                case "find":
                    Puller.find(order);
                    break;
                default:
                    throw new IllegalArgumentException("unknown order " + order.text("do"));
            }
            order.event("done").emit();
        } catch (Throwable e) {
            order.failure("broken", e).emit();
        }
    }

    private Main() {
    }
}
