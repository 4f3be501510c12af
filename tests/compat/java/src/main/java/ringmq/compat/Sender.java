package ringmq.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * `send`: messages `prefix-0` to `prefix-<count-1>`, each with that key, and with that body unless `bytes`
 * asks for one of a given size. `way` is one of sync, selector, async, oneway, batch; `queue` sends to one
 * queue by its id, whether it exists or not; `retry` repeats a failed message until it is accepted.
 */
final class Sender {
    static void run(Order order) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(order.text("group", "compat"));
        producer.setNamesrvAddr(order.text("namesrv"));
        producer.setInstanceName(order.text("instance"));
        producer.setSendMsgTimeout(order.number("timeout_ms", 10000));
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        producer.setMaxMessageSize(order.number("client_bytes_max", 4 * 1024 * 1024));
        producer.start();
        try {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < order.number("count", 1); i++) {
                messages.add(message(order, i));
            }
            if (order.text("way", "sync").equals("batch")) {
                batch(order, producer, messages);
            } else if (order.text("way", "sync").equals("async")) {
                async(order, producer, messages);
            } else {
                for (int i = 0; i < messages.size() && !order.isStopped(); i++) {
                    one(order, producer, messages.get(i), i);
                }
            }
        } finally {
            Main.inBackground(producer::shutdown);
        }
    }

    private static Message message(Order order, int i) {
        String name = order.text("prefix", order.id) + "-" + i;
        byte[] body = name.getBytes(StandardCharsets.UTF_8);
        int bytes = order.number("bytes", 0);
        if (bytes > 0) {
            body = patterned(name, bytes);
        }
        Message message = new Message(order.text("topic"), order.text("tag"), name, body);
        if (order.text("property") != null) {
            message.putUserProperty("note", order.text("property"));
        }
        return message;
    }

    /** A body that compresses, but not into nothing: the name and a running number, over and over. */
    private static byte[] patterned(String name, int bytes) {
        StringBuilder text = new StringBuilder(bytes + 32);
        for (int n = 0; text.length() < bytes; n++) {
            text.append(name).append(':').append(n).append('\n');
        }
        byte[] body = text.toString().getBytes(StandardCharsets.UTF_8);
        return java.util.Arrays.copyOf(body, bytes);
    }

    private static void one(Order order, DefaultMQProducer producer, Message message, int i) throws Exception {
        while (true) {
            try {
                String way = order.text("way", "sync");
                SendResult result = null;
                if (order.number("queue", -1) >= 0) {
                    List<MessageQueue> queues = producer.fetchPublishMessageQueues(message.getTopic());
                    String broker = queues.get(0).getBrokerName();
                    MessageQueue queue = new MessageQueue(message.getTopic(), broker, order.number("queue", 0));
                    result = producer.send(message, queue);
                } else if (way.equals("selector")) {
                    result = producer.send(message, (queues, m, arg) -> queues.get((Integer) arg % queues.size()), i);
                } else if (way.equals("oneway")) {
                    producer.sendOneway(message);
                } else {
                    result = producer.send(message);
                }
                sent(order, i, message, result);
                return;
            } catch (Exception e) {
                order.failure("failed", e).with("i", i).emit();
                if (!order.flag("retry") || order.isStopped()) {
                    return;
                }
                order.pause(200);
            }
        }
    }

    private static void async(Order order, DefaultMQProducer producer, List<Message> messages) throws Exception {
        CountDownLatch answers = new CountDownLatch(messages.size());
        for (int i = 0; i < messages.size(); i++) {
            final int index = i;
            producer.send(messages.get(i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    sent(order, index, messages.get(index), result);
                    answers.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    order.failure("failed", e).with("i", index).emit();
                    answers.countDown();
                }
            });
        }
        answers.await();
    }

    private static void batch(Order order, DefaultMQProducer producer, List<Message> messages) throws Exception {
        try {
            SendResult result = producer.send(messages);
            order.event("sent").with("i", -1).with("status", result.getSendStatus().name())
                .with("queueId", result.getMessageQueue().getQueueId())
                .with("queueOffset", result.getQueueOffset())
                .with("msgId", result.getMsgId()).with("offsetMsgId", result.getOffsetMsgId()).emit();
        } catch (Exception e) {
            order.failure("failed", e).with("i", -1).emit();
        }
    }

    private static void sent(Order order, int i, Message message, SendResult result) {
        CRC32 crc = new CRC32();
        crc.update(message.getBody());
        Order.Event event = order.event("sent").with("i", i).with("keys", message.getKeys())
            .with("bytes", message.getBody().length).with("crc", crc.getValue());
        if (result != null) {
            event.with("status", result.getSendStatus().name())
                .with("broker", result.getMessageQueue().getBrokerName())
                .with("queueId", result.getMessageQueue().getQueueId())
                .with("queueOffset", result.getQueueOffset())
                .with("msgId", result.getMsgId()).with("offsetMsgId", result.getOffsetMsgId())
                .with("region", result.getRegionId()).with("trace", String.valueOf(result.isTraceOn()));
        }
        event.emit();
    }

    private Sender() {
    }
}
