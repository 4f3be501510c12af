package ringmq.compat;

import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * `consume`: a push consumer that reports `started`, then each message, until it is stopped.
 *
 * <p>`orderly` takes the orderly listener; `tags` is the subscription; `failures` lets every message fail
 * that many times first (reported as `refused`).
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
        consumer.subscribe(order.text("topic"), order.text("tags", "*"));
        if (order.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, where) ->
                accepts(order, messages) ? ConsumeOrderlyStatus.SUCCESS
                    : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, where) ->
                accepts(order, messages) ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS
                    : ConsumeConcurrentlyStatus.RECONSUME_LATER);
        }
        consumer.start();
        order.event("started").emit();
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

    private PushReader() {
    }
}
