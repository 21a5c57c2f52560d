//! One request to the scheduler's API.

use std::fmt;

use reqwest::Url;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Changes nothing.
    Get,
    /// A command.
    Post,
    /// Puts something in the place of something else.
    Put,
}

impl Method {
    /// As HTTP writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

/// A request: what is asked for, and not yet of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: Method,
    /// The parts of the path, not encoded.
    pub(crate) path: Vec<String>,
    /// Names and values, not encoded.
    pub(crate) query: Vec<(&'static str, String)>,
    /// A JSON document, if there is a body.
    pub(crate) body: Option<String>,
    /// The version of what is changed that it must still have.
    pub(crate) if_match: Option<String>,
}

impl Request {
    fn new(method: Method, path: &[&str]) -> Self {
        Request {
            method,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            body: None,
            if_match: None,
        }
    }

    /// A question.
    pub(crate) fn get(path: &[&str]) -> Self {
        Request::new(Method::Get, path)
    }

    /// A command.
    pub(crate) fn post(path: &[&str]) -> Self {
        Request::new(Method::Post, path)
    }

    /// A change of a whole.
    pub(crate) fn put(path: &[&str]) -> Self {
        Request::new(Method::Put, path)
    }

    /// With this in the query, if there is a value.
    pub(crate) fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.to_owned()));
        }
        self
    }

    /// With this JSON document.
    pub(crate) fn with_body(mut self, body: String) -> Self {
        self.body = Some(body);
        self
    }

    /// Only if what is changed still has this version.
    pub(crate) fn only_if(mut self, version: &str) -> Self {
        self.if_match = Some(format!("\"{}\"", version.trim_matches('"')));
        self
    }

    /// Whether it is about a plan's parts, for which the SDK has sentences.
    pub(crate) fn is_about_a_plan(&self) -> bool {
        self.path.get(1).is_some_and(|part| part == "plans")
    }

    /// Where it goes, below the API's address.
    pub(crate) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        // Fails for addresses without a host, which are never taken.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// `GET /v1/plans/deploy`, with the body behind it.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /{}", self.method.as_str(), self.path.join("/"))?;
        for (place, (name, value)) in self.query.iter().enumerate() {
            let sign = if place == 0 { '?' } else { '&' };
            write!(f, "{sign}{name}={value}")?;
        }
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded() {
        #[track_caller]
        fn check(base: &str, request: &Request, expected: &str) {
            let base = Url::parse(base).unwrap();
            assert_eq!(request.url(&base).as_str(), expected);
        }
        let plans = Request::get(&["v1", "plans"]);
        check("http://h:1", &plans, "http://h:1/v1/plans");
        check(
            "http://h/service/etcd/",
            &plans,
            "http://h/service/etcd/v1/plans",
        );
        check(
            "http://h/service/etcd",
            &plans,
            "http://h/service/etcd/v1/plans",
        );
        check(
            "http://h",
            &Request::get(&["v1", "plans", "a/b?c#d%2e"]),
            "http://h/v1/plans/a%2Fb%3Fc%23d%252e",
        );
        check(
            "http://h",
            &Request::post(&["v1", "plans", "deploy", "restart"])
                .with("phase", Some("a&b"))
                .with("step", Some("etcd-0:[node]")),
            "http://h/v1/plans/deploy/restart?phase=a%26b&step=etcd-0%3A%5Bnode%5D",
        );
    }
}
