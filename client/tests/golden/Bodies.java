// Prints what the Java client's compressors make of a body, in hex, for the tests of `compression.rs`.
//
//     java -cp 'DIR/*' client/tests/golden/Bodies.java      (DIR: rocketmq-client 5.3.3 with what it depends on)

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;

public class Bodies {
    public static void main(String[] arguments) throws Exception {
        byte[] body = "four boxes, ".repeat(20).getBytes(StandardCharsets.UTF_8);
        for (CompressionType type : CompressionType.values()) {
            StringBuilder hex = new StringBuilder();
            for (byte one : CompressorFactory.getCompressor(type).compress(body, 5)) {
                hex.append(String.format("%02x", one));
            }
            System.out.println(type + " " + type.getCompressionFlag() + " " + hex);
        }
    }
}
