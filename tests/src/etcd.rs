//! etcd as a client sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_api::status::ServiceStatus;
use etcd_client::{Client, ConnectOptions};

/// A client of all members.
pub async fn client(status: &ServiceStatus) -> Result<Client> {
    let urls: Vec<String> = status
        .pods
        .iter()
        .filter_map(|pod| pod.client_url.clone())
        .collect();
    let options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(3))
        .with_timeout(Duration::from_secs(5));
    Client::connect(urls, Some(options))
        .await
        .context("no member can be reached")
}

/// For this long what fails is tried again: a member that was just killed is called
/// healthy for a moment more, and a busy machine may elect another leader at any time.
const TRY_AGAIN_FOR: Duration = Duration::from_secs(10);

/// Between two attempts.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Writes a key. `Ok` means that etcd acknowledged it; it may have been written before,
/// without a word.
pub async fn put(status: &ServiceStatus, key: &str, value: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        match write(status, key, value).await {
            Err(_) if started.elapsed() < TRY_AGAIN_FOR => {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
            written => return written,
        }
    }
}

async fn write(status: &ServiceStatus, key: &str, value: &str) -> Result<()> {
    client(status).await?.put(key, value, None).await?;
    Ok(())
}

/// Reads a key, linearizably.
pub async fn get(status: &ServiceStatus, key: &str) -> Result<Option<String>> {
    let started = Instant::now();
    loop {
        match read(status, key).await {
            Err(_) if started.elapsed() < TRY_AGAIN_FOR => {
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
            read => return read,
        }
    }
}

async fn read(status: &ServiceStatus, key: &str) -> Result<Option<String>> {
    let response = client(status).await?.get(key, None).await?;
    Ok(response
        .kvs()
        .first()
        .map(|pair| String::from_utf8_lossy(pair.value()).into_owned()))
}
