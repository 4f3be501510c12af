package ringmq.compat;

import java.util.Collection;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * `lite`: a lite pull consumer that reports each message it polls, until it is stopped.
 *
 * <p>It subscribes, or with `assign` takes all queues itself. `seek` moves every assigned queue to that
 * offset first; where the client refuses that, it reports `failed` and goes on from where it stands.
 */
final class LiteReader {
    static void run(Order order) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(order.text("group"));
        consumer.setNamesrvAddr(order.text("namesrv"));
        consumer.setInstanceName(order.text("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        String topic = order.text("topic");
        boolean assign = order.flag("assign");
        if (!assign) {
            consumer.subscribe(topic, order.text("tags", "*"));
        }
        consumer.start();
        if (assign) {
            Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
            consumer.assign(queues);
            for (MessageQueue queue : queues) {
                seek(order, consumer, queue);
            }
        }
        order.event("started").emit();
        while (!order.isStopped()) {
            List<MessageExt> messages = consumer.poll(200);
            for (MessageExt message : messages) {
                order.message(message).emit();
            }
        }
        consumer.commitSync();
        consumer.shutdown();
    }

    private static void seek(Order order, DefaultLitePullConsumer consumer, MessageQueue queue) {
        long offset = order.longNumber("seek", -1);
        try {
            if (offset >= 0) {
                consumer.seek(queue, offset);
            } else {
                consumer.seekToBegin(queue);
            }
        } catch (MQClientException e) {
            order.failure("failed", e).with("queueId", queue.getQueueId()).emit();
        }
    }

    private LiteReader() {
    }
}
