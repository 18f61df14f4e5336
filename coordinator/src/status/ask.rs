//! Asking a running coordinator: what the commands that show something do.

use anyhow::Context as _;
use narthex_common::api::Answer;
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{args::StatusArgs, discover::without_password};

/// A running coordinator.
pub(super) struct Coordinator<'a> {
    url: &'a Url,
    client: reqwest::Client,
}

impl<'a> Coordinator<'a> {
    /// The one that a command names.
    pub(super) fn of(args: &'a StatusArgs) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(args.timeout).build().context("set up an HTTP client")?;
        Ok(Self { url: &args.url, client })
    }

    /// What it answers to a path with a query.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        self.ask(self.client.get(self.at(path, query)?)).await
    }

    /// What it answers to a body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.ask(self.client.post(self.at(path, query)?).body(serde_json::to_vec(body)?)).await
    }

    fn at(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Url> {
        let mut url = self.url.join(path).context("put the URL of the API together")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> anyhow::Result<T> {
        let url = || without_password(self.url.as_str());
        let answer: Answer<T> = request
            .send()
            .await
            .with_context(|| format!("ask the coordinator at {} (flag --url)", url()))?
            .json()
            .await
            .with_context(|| format!("read the answer of {}; is it a narthex-coordinator?", url()))?;
        answer.into_result().map_err(anyhow::Error::msg)
    }
}

/// Prints the output of a command.
#[expect(clippy::print_stdout, reason = "the output of a command")]
pub(super) fn print(text: &str) {
    println!("{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    #[tokio::test]
    async fn no_password_of_the_url_comes_out_in_an_error() {
        narthex_runtime::http_client::install_tls_provider();
        let flags = ["narthex-coordinator", "status", "--url=http://u:hunter2@127.0.0.1:0"];
        let Some(Command::Status(args)) = Cli::try_parse_from(flags).unwrap().command else { panic!("{flags:?}") };
        let error = Coordinator::of(&args).unwrap().get::<()>("api/v1/shards", &[]).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("ask the coordinator at http://u:xxxxx@127.0.0.1:0/ (flag --url): "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
