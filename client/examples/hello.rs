//! Sends a message, and prints whatever comes.

use ringmq_client::{Client, Filter, Message, Start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ringmq_client::Error> {
    let client = Client::connect("rocketmq://127.0.0.1:9876").await?;
    client.producer().build()?.send(Message::new("hello", "hello, world")).await?;
    let consumer = client.consumer("greeters").subscribe("hello", Filter::all()).from(Start::First);
    let printing = consumer.run(8, |message| async move {
        println!("{}", message.text());
        Ok(())
    });
    printing.await
}
