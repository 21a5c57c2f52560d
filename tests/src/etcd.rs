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

/// Writes a key. `Ok` means that etcd acknowledged it.
pub async fn put(status: &ServiceStatus, key: &str, value: &str) -> Result<()> {
    client(status).await?.put(key, value, None).await?;
    Ok(())
}

/// For this long a read is tried again.
const READ_AGAIN_FOR: Duration = Duration::from_secs(10);

/// Reads a key, linearizably. A member that was just killed is called healthy for a
/// moment more, so a read that fails is tried again.
pub async fn get(status: &ServiceStatus, key: &str) -> Result<Option<String>> {
    let started = Instant::now();
    loop {
        match read(status, key).await {
            Err(_) if started.elapsed() < READ_AGAIN_FOR => {
                tokio::time::sleep(Duration::from_millis(50)).await;
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
