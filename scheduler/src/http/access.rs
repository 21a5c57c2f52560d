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
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// GET and HEAD.
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
        "line {line} of the token file {}: {why}; write read:TOKEN or write:TOKEN, one a line",
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
    /// bare token may write. Empty lines and lines that begin with `#` are
    /// skipped.
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
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            tokens.push(parse_token(line).map_err(|why| TokenFileError::BadLine {
                path: path.to_owned(),
                line: number + 1,
                why,
            })?);
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

    fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        if OPEN_ROUTES.iter().any(|route| route.holds(path)) {
            return Verdict::Allowed;
        }
        let needed = needed_scope(method);
        let Access::Tokens(tokens) = self else {
            // Without a token, any web page in an operator's browser could send
            // commands to this port. Browsers name the page in such requests;
            // the CLI and curl name none.
            let from_web_page = headers.contains_key(header::ORIGIN);
            return if from_web_page && needed == Scope::Write {
                Verdict::WebPage
            } else {
                Verdict::Allowed
            };
        };
        let Some(given) = given_token(headers) else {
            return Verdict::NoToken;
        };
        match scope_of(tokens, given) {
            None => Verdict::WrongToken,
            Some(scope) if scope < needed => Verdict::ReadOnlyToken,
            Some(_) => Verdict::Allowed,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    NoToken,
    WrongToken,
    ReadOnlyToken,
    WebPage,
}

/// The middleware that stands before every route, unknown ones included.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let verdict = access.judge(request.method(), request.uri().path(), request.headers());
    match verdict {
        Verdict::Allowed => next.run(request).await,
        Verdict::NoToken => unauthorized(
            "a token is needed: send the header `Authorization: Bearer TOKEN`",
            "Bearer realm=\"etcd-scheduler\"",
        ),
        Verdict::WrongToken => {
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
        Verdict::ReadOnlyToken => answer::problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this token may only read",
        ),
        Verdict::WebPage => answer::problem(
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

fn needed_scope(method: &Method) -> Scope {
    if method == Method::GET || method == Method::HEAD {
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

/// Compares with every token to the end, whichever fits.
fn scope_of(tokens: &[Token], given: &str) -> Option<Scope> {
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
        .map(|token| token.scope)
        .max()
}

fn parse_token(line: &str) -> Result<Token, String> {
    let (scope, token) = match line.split_once(':') {
        None => (Scope::Write, line),
        Some(("write", token)) => (Scope::Write, token),
        Some(("read", token)) => (Scope::Read, token),
        Some(_) => return Err("only read: and write: are known".to_owned()),
    };
    let token = token.trim();
    if token.len() < SHORTEST_TOKEN {
        return Err(format!(
            "the token is shorter than {SHORTEST_TOKEN} characters"
        ));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token holds blanks or other than ASCII".to_owned());
    }
    Ok(Token {
        digest: digest(token),
        scope,
    })
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
                    let scopes: Vec<Scope> =
                        tokens.iter().map(|token| token.scope).collect();
                    format!("{scopes:?}")
                }
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{text:?}: {found}");
            // Whatever is wrong with a token, it is not printed.
            assert!(!found.contains("secret"), "{found}");
        }
        check("secret-secret-secret\n", "[Write]");
        check(
            "# ours\n\nread:secret-secret-secret\nwrite: secret-secret-secre2\n",
            "[Read, Write]",
        );
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
        let access = tokens("read:read-read-read-read\nwrite:write-write-write").unwrap();
        #[track_caller]
        fn check(
            access: &Access,
            method: Method,
            path: &str,
            header: Option<&'static str>,
            expected: Verdict,
        ) {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(
                access.judge(&method, path, &headers),
                expected,
                "{method} {path} {header:?}"
            );
        }
        use Verdict::*;
        let read = Some("Bearer read-read-read-read");
        let write = Some("Bearer write-write-write");
        let status = "/v1/status";
        let restart = "/v1/pod/etcd-0/restart";
        for (method, path, header, expected) in [
            (Method::GET, status, None, NoToken),
            (Method::GET, "/v1/unknown", None, NoToken),
            (Method::GET, status, read, Allowed),
            (Method::HEAD, status, read, Allowed),
            (Method::GET, status, write, Allowed),
            (
                Method::GET,
                status,
                Some("bearer read-read-read-read"),
                Allowed,
            ),
            (
                Method::GET,
                status,
                Some("token=read-read-read-read"),
                Allowed,
            ),
            (
                Method::GET,
                status,
                Some("Basic read-read-read-read"),
                NoToken,
            ),
            (Method::GET, status, Some("read-read-read-read"), NoToken),
            (
                Method::GET,
                status,
                Some("Bearer read-read-read-rea"),
                WrongToken,
            ),
            (Method::GET, status, Some("Bearer "), NoToken),
            (Method::POST, restart, None, NoToken),
            (Method::POST, restart, read, ReadOnlyToken),
            (Method::POST, restart, write, Allowed),
            (Method::DELETE, status, read, ReadOnlyToken),
            (Method::GET, "/v1/livez", None, Allowed),
            (Method::GET, "/v1/livez/x", None, NoToken),
            (Method::GET, "/artifacts/x/etcd", None, Allowed),
            (Method::GET, "/artifactsx", None, NoToken),
        ] {
            check(&access, method, path, header, expected);
        }
        check(&Access::Open, Method::POST, restart, None, Allowed);
    }

    #[test]
    fn an_open_api_takes_no_commands_from_web_pages() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://x.example"));
        let judge =
            |method| Access::Open.judge(&method, "/v1/pod/etcd-0/restart", &headers);
        assert_eq!(judge(Method::POST), Verdict::WebPage);
        assert_eq!(judge(Method::GET), Verdict::Allowed);
    }
}
