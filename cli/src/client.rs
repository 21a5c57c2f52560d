//! Asking the scheduler: single attempts, each bounded in time and size.

use std::error::Error;
use std::time::{Duration, Instant};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_MATCH, LOCATION,
};
use reqwest::{Certificate, Response, Url, redirect};
use serde::de::DeserializeOwned;

use crate::address::{Address, Secret, Through, Trust};
use crate::failure::Failure;
use crate::refusal::{self, Answered};
use crate::request::{Method, Request};

/// A host that does not take a connection by then is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The largest answer of ours, a thousand events, is below one megabyte.
const LARGEST_ANSWER: usize = 16 << 20;

/// The SDK's status for a plan with errors, which is shown like any other.
const PLAN_WITH_ERRORS: u16 = 417;

/// The SDK's status for a command that changes nothing.
const NOTHING_TO_DO: u16 = 208;

/// Somebody who asks the scheduler.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<Secret>,
    through: Through,
    answer_within: Duration,
    verbose: bool,
}

/// A large answer on its way.
#[derive(Debug)]
pub(crate) struct Download {
    response: Response,
    answer_within: Duration,
}

impl Download {
    /// What was asked for.
    pub(crate) fn url(&self) -> String {
        self.response.url().to_string()
    }

    /// A header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = self.response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    ///
    /// When the answer breaks off, or nothing comes in time.
    pub(crate) async fn piece(
        &mut self,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        let within = self.answer_within;
        let why = match tokio::time::timeout(within, self.response.chunk()).await {
            Ok(Ok(piece)) => return Ok(piece),
            Ok(Err(error)) => {
                format!("the answer broke off: {}", chain(&error.without_url()))
            }
            Err(_) => format!("nothing more came within {} s", within.as_secs_f64()),
        };
        let url = self.url();
        Err(Failure::NotReached { url, why })
    }
}

/// An answer of success.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked for.
    pub(crate) url: String,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The body as what it should be.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|error| Failure::NotUnderstood {
            url: self.url.clone(),
            why: error.to_string(),
        })
    }
}

impl Client {
    /// For one address. `answer_within` bounds every single answer; with `verbose`
    /// the error output says what is asked.
    ///
    /// # Errors
    ///
    /// When the certificates or the token cannot be used.
    pub(crate) fn new(
        address: Address,
        answer_within: Duration,
        verbose: bool,
    ) -> Result<Self, Failure> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            // The token is for this address and no other.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("dcos-etcd/", env!("CARGO_PKG_VERSION")));
        let builder = match &address.trust {
            // Without TLS the system's certificates are not even read.
            _ if address.base.scheme() == "http" => builder.tls_certs_only([]),
            Trust::System => builder,
            Trust::File(file) => {
                let unusable = |why: String| {
                    let file = file.display();
                    Failure::Usage(format!(
                        "the certificates in {file} cannot be used: {why}"
                    ))
                };
                let pem = std::fs::read(file).map_err(|why| unusable(why.to_string()))?;
                let certificates = Certificate::from_pem_bundle(&pem)
                    .map_err(|why| unusable(chain(&why)))?;
                builder.tls_certs_only(certificates)
            }
            Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        };
        let http = builder.build().map_err(|error| {
            Failure::Usage(format!("TLS cannot be set up: {}", chain(&error)))
        })?;
        Ok(Client {
            http,
            base: address.base,
            authorization: address.authorization,
            through: address.through,
            answer_within,
            verbose,
        })
    }

    /// Asks, and reads the answer to its end.
    ///
    /// # Errors
    ///
    /// When there is none in time, or it is none of success.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let url = request.url(&self.base).to_string();
        let whole = async {
            let response = self.send(request, None).await?;
            self.success(request, response).await
        };
        match tokio::time::timeout(self.answer_within, whole).await {
            Ok(answered) => answered,
            Err(_) => Err(self.too_late(request, url)),
        }
    }

    /// Asks, and reads the answer as what it should be.
    ///
    /// # Errors
    ///
    /// As [`Client::ask`], and when it is not that.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, Failure> {
        self.ask(request).await?.parse()
    }

    /// Opens a stream of server-sent events behind the one with this id.
    ///
    /// # Errors
    ///
    /// When no answer begins in time, or it is none of success.
    pub(crate) async fn open(
        &self,
        request: &Request,
        last_event_id: Option<&str>,
    ) -> Result<Response, Failure> {
        self.begin(request, Some(last_event_id)).await
    }

    /// Asks for what is too large to be kept in memory.
    ///
    /// # Errors
    ///
    /// When no answer begins in time, or it is none of success.
    pub(crate) async fn download(&self, request: &Request) -> Result<Download, Failure> {
        let response = self.begin(request, None).await?;
        Ok(Download {
            response,
            answer_within: self.answer_within,
        })
    }

    async fn begin(
        &self,
        request: &Request,
        follows: Option<Option<&str>>,
    ) -> Result<Response, Failure> {
        let url = request.url(&self.base).to_string();
        let begun = async {
            let response = self.send(request, follows).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(self.refusal(request, response).await)
        };
        match tokio::time::timeout(self.answer_within, begun).await {
            Ok(begun) => begun,
            Err(_) => Err(self.too_late(request, url)),
        }
    }

    /// `follows` is set for a stream, with the last event's id if there was one.
    async fn send(
        &self,
        request: &Request,
        follows: Option<Option<&str>>,
    ) -> Result<Response, Failure> {
        let url = request.url(&self.base);
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let mut sending = self.http.request(method, url.clone());
        if let Some(Secret(authorization)) = &self.authorization {
            let mut value = HeaderValue::from_str(authorization).map_err(|_| {
                Failure::Usage("the token has letters that no token has".to_owned())
            })?;
            value.set_sensitive(true);
            sending = sending.header(AUTHORIZATION, value);
        }
        if let Some(body) = &request.body {
            sending = sending
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Some(version) = &request.if_match {
            sending = sending.header(IF_MATCH, version);
        }
        if let Some(last) = follows {
            sending = sending.header(ACCEPT, "text/event-stream");
            if let Some(last) = last {
                sending = sending.header("Last-Event-ID", last);
            }
        }
        let started = Instant::now();
        let answered = sending.send().await;
        if self.verbose {
            let status = match &answered {
                Ok(response) => response.status().to_string(),
                Err(_) => "no answer".to_owned(),
            };
            let method = request.method.as_str();
            eprintln!(
                "{method} {url}: {status}, {} ms",
                started.elapsed().as_millis()
            );
        }
        answered.map_err(|error| Failure::NotReached {
            url: url.to_string(),
            why: chain(&error.without_url()),
        })
    }

    async fn success(
        &self,
        request: &Request,
        response: Response,
    ) -> Result<Answer, Failure> {
        let status = response.status();
        let shows_errors =
            status.as_u16() == PLAN_WITH_ERRORS && request.method == Method::Get;
        let is_taken = status.is_success() && status.as_u16() != NOTHING_TO_DO;
        if !is_taken && !shows_errors {
            return Err(self.refusal(request, response).await);
        }
        let url = response.url().to_string();
        let body = whole_body(response).await?;
        Ok(Answer { url, body })
    }

    async fn refusal(&self, request: &Request, response: Response) -> Failure {
        let status = response.status();
        let url = response.url().to_string();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .map(str::to_owned);
        // The status alone says enough if the body breaks off.
        let body = whole_body(response).await.unwrap_or_default();
        Failure::Refused(refusal::of(
            &Answered {
                request,
                url: &url,
                status: status.as_u16(),
                reason: status.canonical_reason().unwrap_or_default(),
                location: location.as_deref(),
                body: &body,
            },
            &self.through,
        ))
    }

    fn too_late(&self, request: &Request, url: String) -> Failure {
        let mut why = format!("no answer within {} s", self.answer_within.as_secs_f64());
        if request.method != Method::Get {
            why.push_str("; what was asked for may still be done");
        }
        Failure::NotReached { url, why }
    }
}

async fn whole_body(mut response: Response) -> Result<String, Failure> {
    let url = response.url().to_string();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(String::from_utf8_lossy(&body).into_owned()),
            Err(error) => {
                let why =
                    format!("the answer broke off: {}", chain(&error.without_url()));
                return Err(Failure::NotReached { url, why });
            }
        }
        if body.len() > LARGEST_ANSWER {
            let why = format!("it is longer than {LARGEST_ANSWER} bytes");
            return Err(Failure::NotUnderstood { url, why });
        }
    }
}

/// An error with its causes, of which the last one is what people look for.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
