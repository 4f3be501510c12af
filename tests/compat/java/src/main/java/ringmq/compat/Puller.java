package ringmq.compat;

import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Single questions, asked through the plain pull consumer: its calls are requests one to one. */
@SuppressWarnings("deprecation")
final class Puller {
    private interface Question {
        void ask(DefaultMQPullConsumer consumer) throws Exception;
    }

    /** `pull`: one pull from the queue `queue` at `offset`; the result is reported as it is. */
    static void pull(Order order) throws Exception {
        with(order, consumer -> {
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(order.text("topic"))) {
                if (queue.getQueueId() != order.number("queue", 0)) {
                    continue;
                }
                PullResult result =
                    consumer.pull(queue, order.text("tags", "*"), order.longNumber("offset", 0), order.number("max", 32));
                order.event("pulled").with("status", result.getPullStatus().name())
                    .with("next", result.getNextBeginOffset())
                    .with("min", result.getMinOffset()).with("max", result.getMaxOffset())
                    .with("count", result.getMsgFoundList() == null ? 0 : result.getMsgFoundList().size())
                    .emit();
                return;
            }
            throw new IllegalStateException("no such queue in the route");
        });
    }

    /** `offsets`: the bounds of every queue, and the offset at the time `at`. */
    static void offsets(Order order) throws Exception {
        with(order, consumer -> {
            for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(order.text("topic"))) {
                order.event("queue").with("broker", queue.getBrokerName()).with("queueId", queue.getQueueId())
                    .with("min", consumer.minOffset(queue)).with("max", consumer.maxOffset(queue))
                    .with("searched", consumer.searchOffset(queue, order.longNumber("at", 0)))
                    .with("committed", consumer.fetchConsumeOffset(queue, true))
                    .emit();
            }
        });
    }

    /** `find`: messages by `key` (waiting for the index), or one by `msgId`. */
    static void find(Order order) throws Exception {
        with(order, consumer -> {
            String topic = order.text("topic");
            if (order.text("msgId") != null) {
                order.message(consumer.viewMessage(topic, order.text("msgId"))).emit();
                return;
            }
            QueryResult result = consumer.queryMessage(topic, order.text("key"), 64, 0, Long.MAX_VALUE);
            for (MessageExt message : result.getMessageList()) {
                order.message(message).emit();
            }
        });
    }

    private static void with(Order order, Question question) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(order.text("group", "compat"));
        consumer.setNamesrvAddr(order.text("namesrv"));
        consumer.setInstanceName(order.text("instance"));
        consumer.start();
        try {
            question.ask(consumer);
        } finally {
            Main.inBackground(consumer::shutdown);
        }
    }

    private Puller() {
    }
}
