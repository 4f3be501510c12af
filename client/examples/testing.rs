//! Testing against a real broker: a child process that ends with the value.
//!
//! cargo run -p ringmq-client --example testing        (RINGMQ_BINARY names the broker's binary)

use ringmq_client::{Client, Message, testing::Broker};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut broker = Broker::start()?;
    let client = Client::connect(broker.url()).await?;
    let producer = client.producer().build()?;
    let before = producer.send(Message::new("orders", "four boxes")).await?;

    // Connections are made again and sends repeated by themselves.
    broker.restart()?;
    producer.send(Message::new("orders", "five boxes")).await?;

    let found = client.admin().message_by_place(&before.place).await?.ok_or("it was stored")?;
    assert_eq!(found.text(), "four boxes");
    println!("{} outlived the restart", found.text());
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
