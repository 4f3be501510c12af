package ringmq.compat;

import java.util.List;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * `consume`: a push consumer that reports `started`, then each message, until it is stopped; and, as
 * `allotted`, which queues of its topic it computes as its own, each time it does.
 *
 * <p>`orderly` takes the orderly listener, which reports `returned` after each message; `tags` or `sql` is the
 * subscription; `failures` lets every message fail that many times first (reported as `refused`).
 */
final class PushReader {
    static void run(Order order) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(order.text("group"));
        consumer.setNamesrvAddr(order.text("namesrv"));
        consumer.setInstanceName(order.text("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeMessageBatchMaxSize(1);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        consumer.setAllocateMessageQueueStrategy(new Averagely(order));
        if (order.text("sql") != null) {
            consumer.subscribe(order.text("topic"), MessageSelector.bySql(order.text("sql")));
        } else {
            consumer.subscribe(order.text("topic"), order.text("tags", "*"));
        }
        if (order.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, where) -> {
                boolean accepted = accepts(order, messages);
                order.event("returned").with("keys", messages.get(0).getKeys())
                    .with("at", System.currentTimeMillis()).emit();
                return accepted ? ConsumeOrderlyStatus.SUCCESS
                    : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, where) ->
                accepts(order, messages) ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS
                    : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumer.start();
        order.event("started").with("at", System.currentTimeMillis()).emit();
        order.awaitStop();
        consumer.shutdown();
    }

    private static boolean accepts(Order order, List<MessageExt> messages) {
        MessageExt message = messages.get(0);
        if (message.getReconsumeTimes() < order.number("failures", 0)) {
            order.event("refused").with("keys", message.getKeys()).with("times", message.getReconsumeTimes())
                .with("at", System.currentTimeMillis()).emit();
            return false;
        }
        order.message(message).with("at", System.currentTimeMillis()).emit();
        return true;
    }

    /** The client's own strategy, which says what it decided. */
    private static final class Averagely extends AllocateMessageQueueAveragely {
        private final Order order;

        Averagely(Order order) {
            this.order = order;
        }

        @Override
        public List<MessageQueue> allocate(String group, String client, List<MessageQueue> all, List<String> clients) {
            List<MessageQueue> own = super.allocate(group, client, all, clients);
            if (all.get(0).getTopic().equals(order.text("topic"))) {
                String queues = own.stream().map(queue -> queue.getBrokerName() + ":" + queue.getQueueId())
                    .collect(Collectors.joining(" "));
                order.event("allotted").with("queues", queues).with("at", System.currentTimeMillis()).emit();
            }
            return own;
        }
    }

    private PushReader() {
    }
}
