//! How many durable sends one thread makes in a second.
//!
//! taskset -c 1 cargo run --release -p ringmq-client --example rate -- rocketmq://127.0.0.1:9876 [SECONDS] [IN FLIGHT] [BYTES]

use ringmq_client::admin::NewTopic;
use ringmq_client::{Client, Message};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "rocketmq://127.0.0.1:9876".into());
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, in_flight, bytes) = (number(5)?, number(2048)?, number(1024)?);
    let client = Client::connect(url).await?;
    client.admin().create_topic(&NewTopic::new("rate").queues(8)).await?;
    let producer = client.producer().compression(None).build()?;
    let body = bytes::Bytes::from(vec![b'x'; usize::try_from(bytes)?]);

    let tasks = LocalSet::new();
    let (stored, counting) = (Rc::new(Cell::new(0u64)), Rc::new(Cell::new(true)));
    for _ in 0..in_flight {
        let (producer, body) = (producer.clone(), body.clone());
        let (stored, counting) = (stored.clone(), counting.clone());
        tasks.spawn_local(async move {
            while counting.get() {
                match producer.send(Message::new("rate", body.clone())).await {
                    Ok(_) => stored.set(stored.get() + 1),
                    Err(error) => return eprintln!("{error}"),
                }
            }
        });
    }
    tasks
        .run_until(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (before, began) = (stored.get(), Instant::now());
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let rate = (stored.get() - before) as f64 / began.elapsed().as_secs_f64();
            println!("{rate:.0} sends/s of {bytes} bytes, {in_flight} in flight, one thread");
            counting.set(false);
        })
        .await;
    tasks.await;
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
