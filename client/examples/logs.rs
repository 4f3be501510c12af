//! Log shipping: many small messages, sent in batches and many at once, read by a stream.
//!
//! cargo run -p ringmq-client --example logs -- rocketmq://127.0.0.1:9876

use ringmq_client::{Client, Filter, Message, Start};
use std::time::Duration;
use tokio::task::JoinSet;

const LINES: usize = 10_000;
const LINES_PER_BATCH: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "rocketmq://127.0.0.1:9876".into());
    let client = Client::connect(url).await?;

    let producer = client.producer().group("shippers").build()?;
    let mut sends = JoinSet::new();
    for batch in 0..LINES / LINES_PER_BATCH {
        let producer = producer.clone();
        sends.spawn(async move {
            let lines = (0..LINES_PER_BATCH).map(|line| {
                Message::builder("logs")
                    .tag("info")
                    .body(format!("request {} took 3 ms", batch * LINES_PER_BATCH + line))
            });
            producer.send_batch(lines).await
        });
    }
    while let Some(sent) = sends.join_next().await {
        sent??;
    }

    let consumer =
        client.consumer("index").subscribe("logs", Filter::tags("info || warn")).from(Start::First);
    let mut lines = consumer.stream().await?;
    let mut bytes = 0;
    for _ in 0..LINES {
        let line = lines.next().await.ok_or("the stream ended")?;
        bytes += line.body().len();
        line.ack();
    }
    println!("{LINES} lines, {bytes} bytes");
    lines.close(Duration::from_secs(5)).await;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
