// Writes allocations.txt: what the Java client's own strategies give to each member.
//
//     java -cp 'DIR/*' client/tests/golden/Allocations.java > client/tests/golden/allocations.txt
//
// where DIR holds rocketmq-client 5.3.3 with what it depends on (`target/compat/java-5.3.3/lib` after the compatibility
// tests).

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.common.message.MessageQueue;

public class Allocations {
    public static void main(String[] arguments) {
        System.out.println("# strategy; queues; members; whose; queue ids. Made by Allocations.java with rocketmq-client 5.3.3.");
        List<AllocateMessageQueueStrategy> strategies = List.of(
            new AllocateMessageQueueAveragely(),
            new AllocateMessageQueueAveragelyByCircle(),
            new AllocateMessageQueueConsistentHash());
        for (AllocateMessageQueueStrategy strategy : strategies) {
            for (int queueCount : new int[] {1, 4, 8, 11}) {
                for (int memberCount : new int[] {1, 2, 3, 5, 9}) {
                    List<MessageQueue> queues = new ArrayList<>();
                    for (int id = 0; id < queueCount; id++) {
                        queues.add(new MessageQueue("TopicTest", "broker-a", id));
                    }
                    List<String> members = new ArrayList<>();
                    for (int number = 0; number < memberCount; number++) {
                        members.add("10.0.0." + number + "@4" + number + "#rust");
                    }
                    for (int index = 0; index < memberCount; index++) {
                        List<MessageQueue> mine = strategy.allocate("group", members.get(index), queues, members);
                        String ids = mine.stream().map(queue -> "" + queue.getQueueId()).collect(Collectors.joining(" "));
                        System.out.println(strategy.getName() + "; "
                            + queueCount + "; " + memberCount + "; " + index + "; " + ids);
                    }
                }
            }
        }
    }
}
