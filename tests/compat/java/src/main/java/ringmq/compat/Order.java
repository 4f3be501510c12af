package ringmq.compat;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.MessageExt;

/** One line of input: its parameters, and the events that answer it. */
final class Order {
    private static final PrintStream OUT = new PrintStream(System.out, true);

    final String id;
    private final JsonObject json;
    private final CountDownLatch stopped = new CountDownLatch(1);

    Order(String id, JsonObject json) {
        this.id = id;
        this.json = json;
    }

    String text(String name) {
        return text(name, null);
    }

    String text(String name, String otherwise) {
        JsonElement value = json.get(name);
        return value == null || value.isJsonNull() ? otherwise : value.getAsString();
    }

    int number(String name, int otherwise) {
        JsonElement value = json.get(name);
        return value == null ? otherwise : value.getAsInt();
    }

    long longNumber(String name, long otherwise) {
        JsonElement value = json.get(name);
        return value == null ? otherwise : value.getAsLong();
    }

    boolean flag(String name) {
        JsonElement value = json.get(name);
        return value != null && value.getAsBoolean();
    }

    void stop() {
        stopped.countDown();
    }

    boolean isStopped() {
        return stopped.getCount() == 0;
    }

    void awaitStop() throws InterruptedException {
        stopped.await();
    }

    /** Waits for a moment, or less if the order is stopped. */
    void pause(long ms) throws InterruptedException {
        stopped.await(ms, TimeUnit.MILLISECONDS);
    }

    Event event(String name) {
        return new Event(id, name);
    }

    /** An exception as an event: its class, and the broker's code and remark where there are any. */
    Event failure(String name, Throwable e) {
        Event event = event(name).with("exception", e.getClass().getSimpleName());
        Throwable cause = e;
        while (cause != null && !(cause instanceof MQBrokerException)) {
            cause = cause.getCause();
        }
        if (cause != null) {
            MQBrokerException broker = (MQBrokerException) cause;
            return event.with("code", broker.getResponseCode()).with("remark", broker.getErrorMessage());
        }
        if (e instanceof MQClientException) {
            MQClientException client = (MQClientException) e;
            event.with("code", client.getResponseCode());
            String message = client.getErrorMessage();
            return event.with("remark", message == null ? client.getMessage() : message);
        }
        return event.with("remark", String.valueOf(e.getMessage()));
    }

    Event message(MessageExt message) {
        CRC32 crc = new CRC32();
        crc.update(message.getBody());
        Event event = event("message")
            .with("topic", message.getTopic())
            .with("broker", message.getBrokerName())
            .with("queueId", message.getQueueId())
            .with("queueOffset", message.getQueueOffset())
            .with("keys", message.getKeys())
            .with("tags", message.getTags())
            .with("msgId", message.getMsgId())
            .with("times", message.getReconsumeTimes())
            .with("bytes", message.getBody().length)
            .with("crc", crc.getValue());
        if (message.getBody().length <= 256) {
            event.with("body", new String(message.getBody(), StandardCharsets.UTF_8));
        }
        return event;
    }

    /** One line of output, in the making. */
    static final class Event {
        private final JsonObject json = new JsonObject();

        Event(String id, String name) {
            json.addProperty("id", id);
            json.addProperty("event", name);
        }

        Event with(String name, String value) {
            json.addProperty(name, value);
            return this;
        }

        Event with(String name, Number value) {
            json.addProperty(name, value);
            return this;
        }

        void emit() {
            synchronized (OUT) {
                byte[] line = (json + "\n").getBytes(StandardCharsets.UTF_8);
                OUT.write(line, 0, line.length);
                OUT.flush();
            }
        }
    }
}
