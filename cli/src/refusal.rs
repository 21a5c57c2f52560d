//! What is said of an answer that is none of success: the scheduler's own words
//! where it has some, the SDK's sentences where scripts and hands know them.

use etcd_api::Problem;
use etcd_api::configurations::ChangeRefused;

use crate::address::Through;
use crate::failure::Refusal;
use crate::output::one_line;
use crate::request::Request;

/// Longer answers are pages for browsers.
const LONGEST_SENTENCE: usize = 2000;

/// An answer, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'a> {
    /// What was asked for.
    pub(crate) request: &'a Request,
    /// Where.
    pub(crate) url: &'a str,
    /// The status.
    pub(crate) status: u16,
    /// The status' name, such as `Not Found`.
    pub(crate) reason: &'a str,
    /// Where to go instead, if the answer says so.
    pub(crate) location: Option<&'a str>,
    /// The body.
    pub(crate) body: &'a str,
}

/// What an answer says of itself.
struct Said {
    code: Option<String>,
    /// None for an empty body, and for pages of whoever stands in between.
    text: Option<String>,
}

fn said(body: &str) -> Said {
    if let Ok(ChangeRefused { code, reasons, .. }) = serde_json::from_str(body) {
        let reasons = reasons.iter().map(|it| one_line(&it.reason));
        let reasons: Vec<String> =
            reasons.map(|reason| format!("\n- {reason}")).collect();
        return Said {
            code: Some(code),
            text: Some(format!(
                "The service is not updated to the requested configuration:{}",
                reasons.concat()
            )),
        };
    }
    if let Ok(Problem { code, message }) = serde_json::from_str(body) {
        return Said {
            code: Some(code),
            text: Some(one_line(&message)),
        };
    }
    let text = body.trim();
    let is_sentence =
        !text.is_empty() && text.len() <= LONGEST_SENTENCE && !text.starts_with('<');
    Said {
        code: None,
        text: is_sentence.then(|| one_line(text)),
    }
}

/// What is said of an answer that is none of success.
pub(crate) fn of(answered: &Answered<'_>, through: &Through) -> Refusal {
    let said = said(answered.body);
    Refusal {
        status: answered.status,
        text: text(answered, &said, through),
        code: said.code,
    }
}

fn text(answered: &Answered<'_>, said: &Said, through: &Through) -> String {
    let words = said.text.as_deref();
    let behind = |sentence: &str| match words {
        Some(words) => format!("{sentence}: {words}"),
        None => sentence.to_owned(),
    };
    let Answered { url, status, .. } = *answered;
    match status {
        208 => "Cannot execute command. Command has already been issued or the plan \
                has completed"
            .to_owned(),
        301..=308 => match answered.location {
            Some(location) => format!("{url} is not the API; it points to {location}"),
            None => format!("{url} is not the API; it points elsewhere"),
        },
        401 => format!(
            "{}\n- {}",
            behind(&format!("Got 401 Unauthorized response from {url}")),
            through.token_hint()
        ),
        403 => behind(&format!("Got 403 Forbidden response from {url}")),
        404 if answered.request.is_about_a_plan() => {
            behind("Plan, phase, and/or step does not exist")
        }
        404 => match (words, through) {
            (Some(words), _) => words.to_owned(),
            (None, Through::Scheduler) => {
                format!("Got 404 Not Found response from {url}: it has no such item")
            }
            (None, Through::AdminRouter { service }) => format!(
                "Got 404 Not Found response from {url}:\n\
                 - The service scheduler may have been unable to find an item that was \
                 specified in your request.\n\
                 - The DC/OS cluster may have been unable to find a service named \
                 \"{service}\". Specify a service name with '--name=<name>'"
            ),
        },
        500 | 502 | 504 if said.code.is_none() => unreached(answered, words, through),
        _ => match (&said.code, words) {
            (Some(_), Some(words)) => words.to_owned(),
            _ => failed(answered, words),
        },
    }
}

fn unreached(answered: &Answered<'_>, words: Option<&str>, through: &Through) -> String {
    match through {
        Through::Scheduler => failed(answered, words),
        Through::AdminRouter { service } => format!(
            "Could not reach the service scheduler with name '{service}':\n\
             - Was the service recently installed or updated? It may still be \
             initializing, wait a bit and try again.\n\
             - Did you provide the correct service name? Specify a different name with \
             '--name=<name>'."
        ),
    }
}

fn failed(answered: &Answered<'_>, words: Option<&str>) -> String {
    let Answered {
        request,
        url,
        status,
        reason,
        ..
    } = *answered;
    let method = request.method.as_str();
    let mut text = format!("HTTP {method} Query for {url} failed: {status} {reason}");
    if let Some(words) = words {
        text.push_str("\nResponse: ");
        text.push_str(words);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &Request, through: &Through, status: u16, body: &str) -> Refusal {
        let answered = Answered {
            request,
            url: "http://h/x",
            status,
            reason: "Reason",
            location: (status == 301).then_some("https://h/x"),
            body,
        };
        of(&answered, through)
    }

    #[test]
    fn sentences() {
        #[track_caller]
        fn check(path: &[&str], status: u16, body: &str, expected: &str) {
            let request = Request::post(path);
            let found = refused(&request, &Through::Scheduler, status, body);
            assert_eq!(found.text, expected, "{status} {body}");
        }
        let (plan, pod) = (&["v1", "plans", "x", "stop"], &["v1", "pod", "p", "y"]);
        check(
            plan,
            208,
            "Command has already been reported or completed",
            "Cannot execute command. Command has already been issued or the plan has completed",
        );
        check(
            plan,
            404,
            "Plan x not found",
            "Plan, phase, and/or step does not exist: Plan x not found",
        );
        check(plan, 404, "", "Plan, phase, and/or step does not exist");
        check(pod, 404, "Pod p not found", "Pod p not found");
        check(
            pod,
            404,
            "<html>",
            "Got 404 Not Found response from http://h/x: it has no such item",
        );
        check(
            pod,
            409,
            r#"{"code": "not_now", "message": "not now: etcd-1 is down"}"#,
            "not now: etcd-1 is down",
        );
        check(
            pod,
            501,
            r#"{"code": "not_implemented", "message": "nothing was changed"}"#,
            "nothing was changed",
        );
        check(
            pod,
            400,
            "bad\n\u{1b}[2Jbody",
            "HTTP POST Query for http://h/x failed: 400 Reason\nResponse: bad [2Jbody",
        );
        check(
            pod,
            503,
            "",
            "HTTP POST Query for http://h/x failed: 503 Reason",
        );
        check(
            pod,
            301,
            "",
            "http://h/x is not the API; it points to https://h/x",
        );
        check(
            pod,
            403,
            r#"{"code": "forbidden", "message": "this token may only read"}"#,
            "Got 403 Forbidden response from http://h/x: this token may only read",
        );
    }

    #[test]
    fn through_admin_router_the_sdks_hints() {
        #[track_caller]
        fn check(status: u16, expected: &str) {
            let through = Through::AdminRouter {
                service: "etcd-dev".to_owned(),
            };
            let request = Request::get(&["v1", "pod"]);
            let found = refused(&request, &through, status, "<html>").text;
            assert!(found.contains(expected), "{status}: {found}");
        }
        check(401, "Bad auth token? Run 'dcos auth login' to log in");
        check(404, "unable to find a service named \"etcd-dev\"");
        check(
            502,
            "Could not reach the service scheduler with name 'etcd-dev'",
        );
    }
}
