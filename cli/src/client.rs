//! Questions to the scheduler, and what its refusals mean.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode, Url};

/// The scheduler answers from memory, or once a command is stored.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The scheduler of one service.
pub(crate) struct Scheduler {
    url: Url,
    token: Option<String>,
    client: reqwest::Client,
}

impl Scheduler {
    /// The one whose API is at this URL, which may have a path.
    pub(crate) fn at(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let with_slash = format!("{}/", url.trim_end_matches('/'));
        Ok(Scheduler {
            url: Url::parse(&with_slash).with_context(|| format!("{url} is no url"))?,
            token,
            client: reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?,
        })
    }

    /// The body of a 2xx. A plan with errors (417) is one like any other.
    pub(crate) async fn get(&self, path: &[&str]) -> anyhow::Result<String> {
        self.ask(Method::GET, path, &[], None).await
    }

    /// The same for a command.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> anyhow::Result<String> {
        self.ask(Method::POST, path, query, body).await
    }

    /// Path segments and values of the query are encoded here: step names have
    /// brackets and colons.
    fn url_of(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Url> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("{} cannot be a base", self.url))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> anyhow::Result<String> {
        let url = self.url_of(path, query)?;
        let mut request = self.client.request(method.clone(), url.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("could not reach the scheduler at {}", self.url))?;
        let code = response.status();
        let text = response.text().await?;
        match refusal(&method, &url, code, &text) {
            None => Ok(text),
            Some(why) => bail!(why),
        }
    }
}

/// What an answer means if it is a refusal, in the SDK's words where it has some.
fn refusal(method: &Method, url: &Url, code: StatusCode, body: &str) -> Option<String> {
    let of_plans = url.path().contains("/v1/plans/");
    match code {
        StatusCode::ALREADY_REPORTED => Some(
            "Cannot execute command. Command has already been issued or the plan has \
             completed"
                .to_owned(),
        ),
        StatusCode::EXPECTATION_FAILED if *method == Method::GET => None,
        code if code.is_success() => None,
        StatusCode::NOT_FOUND if of_plans => Some(format!(
            "Plan, phase, and/or step does not exist ({})",
            body.trim()
        )),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(format!(
            "Got {code} response from {url}: the token (--token or SCHEDULER_TOKEN) is \
             missing or not good enough: {}",
            body.trim()
        )),
        code => Some(format!(
            "HTTP {method} Query for {url} failed: {code}: {}",
            body.trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        #[track_caller]
        fn check(base: &str, path: &[&str], query: &[(&str, &str)], expected: &str) {
            let url = Scheduler::at(base, None)
                .unwrap()
                .url_of(path, query)
                .unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        check("http://h:1", &["plans"], &[], "http://h:1/v1/plans");
        check(
            "http://h:1/service/etcd/",
            &["plans", "deploy", "restart"],
            &[("phase", "agents"), ("step", "etcd-0:[node]")],
            "http://h:1/service/etcd/v1/plans/deploy/restart?phase=agents&step=etcd-0%3A%5Bnode%5D",
        );
        check(
            "http://h:1",
            &["plans", "../x"],
            &[],
            "http://h:1/v1/plans/..%2Fx",
        );
    }

    #[test]
    fn refusals() {
        #[track_caller]
        fn check(method: Method, path: &str, code: u16, expected: Option<&str>) {
            let url = Url::parse(&format!("http://h{path}")).unwrap();
            let code = StatusCode::from_u16(code).unwrap();
            let found = refusal(&method, &url, code, "Plan x not found");
            match expected {
                None => assert_eq!(found, None),
                Some(words) => {
                    assert!(found.clone().unwrap().contains(words), "{found:?}")
                }
            }
        }
        let plan = "/v1/plans/x/continue";
        check(Method::POST, plan, 200, None);
        check(Method::POST, plan, 208, Some("has already been issued"));
        let unknown = Some("Plan, phase, and/or step does not exist");
        check(Method::POST, plan, 404, unknown);
        check(Method::POST, plan, 403, Some("not good enough"));
        check(Method::POST, plan, 417, Some("failed: 417"));
        check(Method::GET, "/v1/plans/deploy", 417, None);
        check(Method::GET, "/v1/pod/x", 404, Some("failed: 404"));
    }
}
