//! What all clients of this crate share: HTTP clients, credentials, protobuf
//! bodies, and a task that carries one event stream.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::endpoint::Scheme;
use crate::subscription::{Answer, Attempt};

/// The only content type that we send and accept. A client that also accepted
/// JSON would be sent JSON.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The header that ties calls to a subscription.
pub(crate) const STREAM_ID: &str = "Mesos-Stream-Id";

/// From a host that is down nothing comes back; within one data centre a
/// connection takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For one call and its answer, body included. Mesos answers scheduler calls
/// when it has read them; operator calls wait for the master's registrar, which
/// itself gives up after 20 s (`--registry_store_timeout`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle connections are dropped before a firewall in between forgets them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds half-open connections where nothing else is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Of an error's body so much is shown; Mesos' own are a sentence, those of
/// proxies are web pages.
const MAX_ERROR_BODY_CHARS: usize = 500;

/// Of an error's body so much is read.
const MAX_ERROR_BODY_BYTES: usize = 16 * 1024;

/// Proves to Mesos who we are. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Basic { principal: String, secret: String },
    Header(String),
}

impl Credential {
    /// HTTP basic authentication, which is what masters check when they run with
    /// `--authenticate_http_frameworks`.
    pub fn basic(principal: impl Into<String>, secret: impl Into<String>) -> Self {
        Self(Kind::Basic {
            principal: principal.into(),
            secret: secret.into(),
        })
    }

    /// A bearer token, which is what agents check of executors.
    pub fn bearer(token: &str) -> Self {
        Self(Kind::Header(format!("Bearer {token}")))
    }

    /// Any value of the `Authorization` header, for example DC/OS's
    /// `token=...`.
    pub fn authorization(value: impl Into<String>) -> Self {
        Self(Kind::Header(value.into()))
    }

    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.0 {
            Kind::Basic { principal, secret } => {
                request.basic_auth(principal, Some(secret))
            }
            Kind::Header(value) => match HeaderValue::from_str(value) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(AUTHORIZATION, value)
                }
                // Checked when the client was made.
                Err(_) => request,
            },
        }
    }

    fn check(&self) -> Result<(), ClientSetupError> {
        match &self.0 {
            Kind::Header(value) if HeaderValue::from_str(value).is_err() => {
                Err(ClientSetupError(
                    "the credential has characters that a header cannot carry".to_owned(),
                ))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

/// Whom we are to others, and whom we believe.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Sent with every request, if given.
    pub credential: Option<Credential>,
    /// For https: PEM certificates of the authorities to trust, in place of the
    /// machine's own store.
    pub certificate_authorities: Option<Vec<u8>>,
}

/// The HTTP client could not be made: bad certificates or credential.
#[derive(Debug, Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct ClientSetupError(String);

/// A client with our headers, redirects and timeouts.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    client: Client,
    credential: Option<Credential>,
}

impl HttpClient {
    /// For one stream that lives long: no limit on the whole.
    pub(crate) fn for_streams(
        scheme: Scheme,
        access: &Access,
    ) -> Result<Self, ClientSetupError> {
        // Each subscription has a connection of its own.
        Self::build(scheme, access, Client::builder().pool_max_idle_per_host(0))
    }

    /// For calls.
    pub(crate) fn for_calls(
        scheme: Scheme,
        access: &Access,
        timeout: Duration,
    ) -> Result<Self, ClientSetupError> {
        Self::build(scheme, access, Client::builder().timeout(timeout))
    }

    fn build(
        scheme: Scheme,
        access: &Access,
        builder: ClientBuilder,
    ) -> Result<Self, ClientSetupError> {
        let failed = |error: reqwest::Error| ClientSetupError(explain_setup(&error));
        let mut builder = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        match (&access.certificate_authorities, scheme) {
            (Some(pem), _) => {
                let authorities = Certificate::from_pem_bundle(pem).map_err(failed)?;
                builder = builder.tls_certs_only(authorities);
            }
            // A bare container has no certificate store, and plain HTTP must
            // work there all the same.
            (None, Scheme::Http) => builder = builder.tls_certs_only([]),
            (None, Scheme::Https) => {}
        }
        if let Some(credential) = &access.credential {
            credential.check()?;
        }
        let client = builder.build().map_err(failed)?;
        Ok(Self {
            client,
            credential: access.credential.clone(),
        })
    }

    /// A request that posts one protobuf message.
    pub(crate) fn post(
        &self,
        url: &str,
        message: &impl prost::Message,
    ) -> RequestBuilder {
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, PROTOBUF)
            .header(ACCEPT, PROTOBUF)
            .body(message.encode_to_vec());
        match &self.credential {
            Some(credential) => credential.apply(request),
            None => request,
        }
    }
}

/// What the task of one attempt reports.
#[derive(Debug)]
pub(crate) enum StreamInput {
    Answer(Answer),
    Data(Bytes),
    End(String),
}

/// Carries one attempt: sends the request, reports the answer's head, then the
/// stream's pieces. Dropping this drops the connection.
#[derive(Debug)]
pub(crate) struct EventStream {
    pub(crate) attempt: Attempt,
    task: AbortHandle,
}

impl EventStream {
    pub(crate) fn open(
        request: RequestBuilder,
        attempt: Attempt,
        inputs: mpsc::Sender<(Attempt, StreamInput)>,
    ) -> Self {
        let task = tokio::spawn(async move {
            let end = match carry(request, attempt, &inputs).await {
                Ok(()) => "the other side closed the event stream".to_owned(),
                Err(error) => explain(&error),
            };
            // Only fails when nobody is left who could care.
            let _ = inputs.send((attempt, StreamInput::End(end))).await;
        });
        Self {
            attempt,
            task: task.abort_handle(),
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    request: RequestBuilder,
    attempt: Attempt,
    inputs: &mpsc::Sender<(Attempt, StreamInput)>,
) -> Result<(), reqwest::Error> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let mut answer = Answer {
        status,
        location: header(&response, LOCATION.as_str()),
        stream_id: header(&response, STREAM_ID),
        body: String::new(),
    };
    if status != 200 {
        answer.body = error_body(response).await;
        let _ = inputs.send((attempt, StreamInput::Answer(answer))).await;
        return Ok(());
    }
    if inputs
        .send((attempt, StreamInput::Answer(answer)))
        .await
        .is_err()
    {
        return Ok(());
    }
    while let Some(chunk) = response.chunk().await? {
        if inputs
            .send((attempt, StreamInput::Data(chunk)))
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    response
        .headers()
        .get(name)?
        .to_str()
        .ok()
        .map(str::to_owned)
}

/// What an error answer says, cut to a length that fits a log line.
pub(crate) async fn error_body(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BODY_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&body);
    match text.trim() {
        "" => "(no explanation)".to_owned(),
        text => text.chars().take(MAX_ERROR_BODY_CHARS).collect(),
    }
}

fn explain_setup(error: &reqwest::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.join(": ")
}

/// Says in an operator's terms what went wrong. reqwest shows the outermost error
/// ("error sending request for url ..."); the innermost one ("Connection refused")
/// is what helps.
pub(crate) fn explain(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()),
        (true, false) => format!("cannot connect: {innermost}"),
        (false, true) => "timed out".to_owned(),
        (false, false) if error.is_builder() => format!("cannot be sent: {innermost}"),
        (false, false) => format!("the connection broke: {innermost}"),
    }
}
