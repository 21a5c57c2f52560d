//! The smallest framework: it takes one offer and stays subscribed.

use std::net::SocketAddrV4;

use serde_json::{Value, json};

use crate::support::{LIMIT, first_record};

/// A subscribed scheduler. When it is dropped, the master keeps the task for as long
/// as the failover timeout says.
pub(crate) struct Framework {
    client: reqwest::Client,
    url: String,
    id: Value,
    stream_id: String,
    events: reqwest::Response,
    unread: Vec<u8>,
}

impl Framework {
    pub(crate) async fn subscribe(master: SocketAddrV4) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{master}/api/v1/scheduler");
        let info = json!({"user": "root", "name": "test", "roles": ["test"],
            "checkpoint": true, "failover_timeout": 600.0,
            "principal": "test",
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"},
                {"type": "RESERVATION_REFINEMENT"}]});
        let body = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        let request = client.post(&url).header("Accept", "application/json");
        let request = request.header("Content-Type", "application/json");
        let events = request.body(body.to_string()).send().await.unwrap();
        assert_eq!(events.status(), 200);
        let stream_id = events.headers()["Mesos-Stream-Id"]
            .to_str()
            .unwrap()
            .to_owned();
        let (id, unread) = (Value::Null, Vec::new());
        let mut framework = Framework {
            client,
            url,
            id,
            stream_id,
            events,
            unread,
        };
        let subscribed = framework.next("SUBSCRIBED").await;
        framework.id = subscribed["subscribed"]["framework_id"].clone();
        framework
    }

    /// The next event of a kind; others before it are dropped.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let wait = async {
            loop {
                let event = self.next_event().await;
                if event["type"] == kind {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect(kind)
    }

    /// The next event, whatever it is. The caller bounds the wait.
    pub(crate) async fn next_event(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = first_record(&self.unread) {
                self.unread = rest.to_vec();
                return event;
            }
            let chunk = self.events.chunk().await.unwrap();
            self.unread
                .extend_from_slice(&chunk.expect("the master hung up"));
        }
    }

    /// Launches a custom executor that is just a shell command. It never subscribes, so
    /// the agent lets it run for `--executor_registration_timeout`.
    pub(crate) async fn launch(&mut self, command: &str, uris: Value) {
        let offer = self.offer().await;
        let resources = json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
        let launch = self.launch_operation(&offer, command, uris, &resources);
        self.accept(&offer, json!([launch])).await;
    }

    /// Reserves a disk, makes a volume on it, which takes all of it, and launches the
    /// shell command with the volume at `data`. `source` is `null` for the ROOT disk.
    pub(crate) async fn launch_on_volume(
        &mut self,
        command: &str,
        source: &Value,
        megabytes: u32,
    ) {
        let offer = self.offer().await;
        let mut disk = scalar("disk", f64::from(megabytes));
        disk["reservations"] =
            json!([{"type": "DYNAMIC", "role": "test", "principal": "test"}]);
        let mut volume = disk.clone();
        volume["disk"] = json!({"persistence": {"id": "volume", "principal": "test"},
            "volume": {"mode": "RW", "container_path": "data"}});
        if !source.is_null() {
            disk["disk"] = json!({"source": source});
            volume["disk"]["source"] = source.clone();
        }
        let resources = json!([scalar("cpus", 0.1), scalar("mem", 32.0)]);
        let mut launch = self.launch_operation(&offer, command, json!([]), &resources);
        launch["launch"]["task_infos"][0]["executor"]["resources"] =
            json!([resources[0], resources[1], volume]);
        let operations = json!([
            {"type": "RESERVE", "id": {"value": "reserve"},
                "reserve": {"resources": [disk]}},
            {"type": "CREATE", "id": {"value": "create"},
                "create": {"volumes": [volume]}},
            launch,
        ]);
        self.accept(&offer, operations).await;
    }

    async fn offer(&mut self) -> Value {
        self.next("OFFERS").await["offers"]["offers"][0].clone()
    }

    fn launch_operation(
        &self,
        offer: &Value,
        command: &str,
        uris: Value,
        resources: &Value,
    ) -> Value {
        let task = json!({
            "name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
            "resources": resources,
            "executor": {
                "type": "CUSTOM", "executor_id": {"value": "e"}, "framework_id": self.id,
                "command": {"shell": true, "value": command, "uris": uris},
                "resources": resources,
            },
        });
        json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})
    }

    async fn accept(&mut self, offer: &Value, operations: Value) {
        let accept = json!({"offer_ids": [offer["id"]], "operations": operations});
        let call = json!({"type": "ACCEPT", "framework_id": self.id, "accept": accept});
        let request = self.client.post(&self.url).body(call.to_string());
        let request = request.header("Content-Type", "application/json");
        let request = request.header("Mesos-Stream-Id", &self.stream_id);
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value},
        "allocation_info": {"role": "test"}})
}
