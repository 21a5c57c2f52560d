//! Who may use the API. It can read and destroy all data, so it asks for a
//! bearer token, and says loudly when it was told not to.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::answer;
use crate::artifacts::ARTIFACT_PATH;
use crate::commands::Actor;

/// Routes that need no token, and why:
///
/// * liveness: Marathon and systemd ask it, and it says nothing but that;
/// * programs: Mesos' fetcher can send none, and the path itself is the secret.
pub const OPEN_ROUTES: [OpenRoute; 2] = [
    OpenRoute::Exactly("/v1/livez"),
    OpenRoute::Below(ARTIFACT_PATH),
];

/// A route that needs no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRoute {
    /// This path.
    Exactly(&'static str),
    /// Paths that begin with this.
    Below(&'static str),
}

impl OpenRoute {
    fn holds(self, path: &str) -> bool {
        match self {
            OpenRoute::Exactly(open) => path == open,
            OpenRoute::Below(open) => path.starts_with(open),
        }
    }
}

/// Shorter tokens can be tried out over a network.
const SHORTEST_TOKEN: usize = 16;

/// As long as an e-mail address that a person would type.
const LONGEST_NAME: usize = 64;

/// Who may do what.
#[derive(Debug)]
pub enum Access {
    /// Whoever reaches the API may do everything.
    Open,
    /// Whoever knows one of these tokens.
    Tokens(Vec<Token>),
}

/// A token, of which only the checksum is kept: it cannot be logged by mistake,
/// and comparing checksums tells nothing about how much of a guess was right.
#[derive(Debug)]
pub struct Token {
    digest: [u8; 32],
    scope: Scope,
    /// Who is said to have asked.
    holder: Actor,
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// GET and HEAD, except of snapshots.
    Read,
    /// Everything.
    Write,
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token file {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no token. What it says is not repeated here.
    #[error(
        "line {line} of the token file {}: {why}; write read:TOKEN or write:TOKEN, one a line, and behind it a name if you like",
        .path.display()
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It holds no token, and so nobody could do anything.
    #[error("the token file {} holds no token", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Access {
    /// Reads tokens from a file: one a line, `read:TOKEN` or `write:TOKEN`; a
    /// bare token may write. A name may follow after a blank: what its holder
    /// asks for is told under it. Empty lines and lines that begin with `#`
    /// are skipped.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, holds a bad line, or no token.
    pub fn from_file(path: &Path) -> Result<Self, TokenFileError> {
        let unreadable = |source| TokenFileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let mode = fs::metadata(path).map_err(unreadable)?.mode();
        if mode & 0o044 != 0 {
            tracing::warn!(
                file = %path.display(),
                "others on this machine can read the token file; chmod 600 it"
            );
        }
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let token =
                parse_token(line, number).map_err(|why| TokenFileError::BadLine {
                    path: path.to_owned(),
                    line: number,
                    why,
                })?;
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Err(TokenFileError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(Access::Tokens(tokens))
    }

    /// Says in the log what holds. Called when the API starts to listen.
    pub(super) fn announce(&self) {
        match self {
            Access::Open => tracing::warn!(
                "THE API IS OPEN: whoever reaches it can read and destroy all data; \
                 set scheduler.token_file to ask for a token"
            ),
            Access::Tokens(tokens) => {
                tracing::info!(tokens = tokens.len(), "the API asks for a token");
            }
        }
    }

    /// Who asks, or why they may not.
    fn judge(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Actor, Refusal> {
        if OPEN_ROUTES.iter().any(|route| route.holds(path)) {
            return Ok(Actor::anonymous());
        }
        let needed = needed_scope(method, path);
        let Access::Tokens(tokens) = self else {
            // Without a token, any web page in an operator's browser could send
            // commands to this port. Browsers name the page in such requests;
            // the CLI and curl name none.
            let from_web_page = headers.contains_key(header::ORIGIN);
            return if from_web_page && needed == Scope::Write {
                Err(Refusal::WebPage)
            } else {
                Ok(Actor::anonymous())
            };
        };
        let given = given_token(headers).ok_or(Refusal::NoToken)?;
        let token = find(tokens, given).ok_or(Refusal::WrongToken)?;
        if token.scope < needed {
            return Err(Refusal::ReadOnlyToken);
        }
        Ok(token.holder.clone())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    ReadOnlyToken,
    WebPage,
}

/// The middleware that stands before every route, unknown ones included. It
/// tells those behind it who asks.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.judge(request.method(), request.uri().path(), request.headers()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(Refusal::NoToken) => unauthorized(
            "a token is needed: send the header `Authorization: Bearer TOKEN`",
            "Bearer realm=\"etcd-scheduler\"",
        ),
        Err(Refusal::WrongToken) => {
            tracing::warn!(
                method = %request.method(),
                path = request.uri().path(),
                "refused a request with an unknown token"
            );
            unauthorized(
                "this token is not known",
                "Bearer realm=\"etcd-scheduler\", error=\"invalid_token\"",
            )
        }
        Err(Refusal::ReadOnlyToken) => answer::problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this token may only read",
        ),
        Err(Refusal::WebPage) => answer::problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without tokens, the API takes no commands from web pages",
        ),
    }
}

fn unauthorized(message: &str, challenge: &'static str) -> Response {
    let mut response = answer::problem(StatusCode::UNAUTHORIZED, "unauthorized", message);
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

/// Routes that are read and yet show all that clients have written. Whoever may
/// only look at the service may not have them.
const ALL_DATA: [&str; 1] = ["/v1/snapshot"];

fn needed_scope(method: &Method, path: &str) -> Scope {
    let reads = method == Method::GET || method == Method::HEAD;
    if reads && !ALL_DATA.contains(&path) {
        Scope::Read
    } else {
        Scope::Write
    }
}

/// `Authorization: Bearer X`, or DC/OS' `Authorization: token=X`.
fn given_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    if let Some(token) = value.strip_prefix("token=") {
        return Some(token.trim());
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares with every token to the end, whichever fits. If one stands in the
/// file twice, the line that allows more counts.
fn find<'a>(tokens: &'a [Token], given: &str) -> Option<&'a Token> {
    let digest = digest(given);
    tokens
        .iter()
        .filter(|token| {
            let differing = token
                .digest
                .iter()
                .zip(&digest)
                .fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs));
            differing == 0
        })
        .max_by_key(|token| token.scope)
}

fn parse_token(line: &str, number: usize) -> Result<Token, String> {
    let (scope, rest) = match line.split_once(':') {
        None => (Scope::Write, line),
        Some(("write", rest)) => (Scope::Write, rest),
        Some(("read", rest)) => (Scope::Read, rest),
        Some(_) => return Err("only read: and write: are known".to_owned()),
    };
    let mut words = rest.split_whitespace();
    let token = words.next().unwrap_or_default();
    let name = words.next();
    if words.next().is_some() {
        return Err("there are blanks in the token or in the name".to_owned());
    }
    if token.len() < SHORTEST_TOKEN {
        return Err(format!(
            "the token is shorter than {SHORTEST_TOKEN} characters"
        ));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token holds other than ASCII".to_owned());
    }
    let holder = match name {
        None => Actor::named(&format!("token-on-line-{number}")),
        Some(name) if is_name(name) => Actor::named(name),
        Some(_) => {
            return Err(format!(
                "the name must be at most {LONGEST_NAME} of A-Z a-z 0-9 . _ @ -"
            ));
        }
    };
    Ok(Token {
        digest: digest(token),
        scope,
        holder,
    })
}

/// Names go into logs and events as they are.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Access, TokenFileError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        fs::write(&file, text).unwrap();
        Access::from_file(&file)
    }

    #[test]
    fn token_files() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let found = match tokens(text) {
                Ok(Access::Open) => "open".to_owned(),
                Ok(Access::Tokens(tokens)) => {
                    let lines: Vec<String> = tokens
                        .iter()
                        .map(|token| format!("{:?} {}", token.scope, token.holder))
                        .collect();
                    lines.join(", ")
                }
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{text:?}: {found}");
            // Whatever is wrong with a token, it is not printed.
            assert!(!found.contains("secret"), "{found}");
        }
        check("secret-secret-secret\n", "Write token-on-line-1");
        check(
            "# ours\n\nread:secret-secret-secret\nwrite: secret-secret-secre2\n",
            "Read token-on-line-3, Write token-on-line-4",
        );
        check(
            "write:secret-secret-secret  alice@example.com\n\
             secret-secret-secre2 cron\n",
            "Write alice@example.com, Write cron",
        );
        check("secret-secret-secret al!ce", "the name must be");
        check("", "holds no token");
        check("# nothing\n", "holds no token");
        check("read:secret", "line 1");
        check("read:secret", "shorter than 16");
        check("\nadmin:secret-secret-secret", "line 2");
        check("secret secret secret", "blanks");
        assert!(matches!(
            Access::from_file(Path::new("/nowhere/tokens")),
            Err(TokenFileError::Unreadable { .. })
        ));
    }

    #[test]
    fn verdicts() {
        let access =
            tokens("read:read-read-read-read robot\nwrite:write-write-write alice")
                .unwrap();
        #[track_caller]
        fn check(
            access: &Access,
            method: Method,
            path: &str,
            header: Option<&'static str>,
            expected: Result<&str, Refusal>,
        ) {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            let found = access.judge(&method, path, &headers);
            assert_eq!(
                found.map(|actor| actor.to_string()),
                expected.map(str::to_owned),
                "{method} {path} {header:?}"
            );
        }
        use Refusal::*;
        let read = Some("Bearer read-read-read-read");
        let write = Some("Bearer write-write-write");
        let status = "/v1/status";
        let restart = "/v1/pod/etcd-0/restart";
        let snapshot = "/v1/snapshot";
        for (method, path, header, expected) in [
            (Method::GET, status, None, Err(NoToken)),
            (Method::GET, "/v1/unknown", None, Err(NoToken)),
            (Method::GET, status, read, Ok("robot")),
            (Method::HEAD, status, read, Ok("robot")),
            (Method::GET, status, write, Ok("alice")),
            (
                Method::GET,
                status,
                Some("bearer read-read-read-read"),
                Ok("robot"),
            ),
            (
                Method::GET,
                status,
                Some("token=read-read-read-read"),
                Ok("robot"),
            ),
            (
                Method::GET,
                status,
                Some("Basic read-read-read-read"),
                Err(NoToken),
            ),
            (
                Method::GET,
                status,
                Some("read-read-read-read"),
                Err(NoToken),
            ),
            (
                Method::GET,
                status,
                Some("Bearer read-read-read-rea"),
                Err(WrongToken),
            ),
            (Method::GET, status, Some("Bearer "), Err(NoToken)),
            (Method::POST, restart, None, Err(NoToken)),
            (Method::POST, restart, read, Err(ReadOnlyToken)),
            (Method::POST, restart, write, Ok("alice")),
            (Method::DELETE, status, read, Err(ReadOnlyToken)),
            // Read, and yet all data.
            (Method::GET, snapshot, read, Err(ReadOnlyToken)),
            (Method::HEAD, snapshot, read, Err(ReadOnlyToken)),
            (Method::GET, snapshot, write, Ok("alice")),
            (Method::GET, "/v1/livez", None, Ok("anonymous")),
            (Method::GET, "/v1/livez/x", None, Err(NoToken)),
            (Method::GET, "/artifacts/x/etcd", None, Ok("anonymous")),
            (Method::GET, "/artifactsx", None, Err(NoToken)),
        ] {
            check(&access, method, path, header, expected);
        }
        check(&Access::Open, Method::POST, restart, None, Ok("anonymous"));
    }

    #[test]
    fn an_open_api_takes_no_commands_from_web_pages() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://x.example"));
        let judge =
            |method| Access::Open.judge(&method, "/v1/pod/etcd-0/restart", &headers);
        assert_eq!(judge(Method::POST), Err(Refusal::WebPage));
        assert_eq!(judge(Method::GET), Ok(Actor::anonymous()));
    }
}
