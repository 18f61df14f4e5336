//! Asking a running coordinator: what the commands that show something do.

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, request};
use http_body_util::{BodyExt as _, Full};
use narthex_common::api::Answer;
use narthex_runtime::http_client::{ClientSettings, JobClient};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{args::StatusArgs, discover::without_password};

/// A running coordinator.
pub(super) struct Coordinator<'a> {
    args: &'a StatusArgs,
    client: JobClient,
}

/// An answer, and what is to be known with it.
#[derive(Deserialize)]
struct Warned<T> {
    #[serde(flatten)]
    answer: Answer<T>,
    #[serde(default = "Vec::new")]
    warnings: Vec<String>,
}

impl<'a> Coordinator<'a> {
    /// The one that a command names.
    pub(super) fn of(args: &'a StatusArgs) -> anyhow::Result<Self> {
        let settings = match args.http_config_file.clone() {
            Some(path) => ClientSettings::File { path, flag: "--http.config.file" },
            None => ClientSettings::Fixed(Box::default()),
        };
        Ok(Self { args, client: settings.client().context("set up an HTTP client")? })
    }

    /// What it answers to a path with a query.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        Ok(self.get_with_warnings(path, query).await?.0)
    }

    /// What it answers to a path with a query, and what it warns of.
    pub(super) async fn get_with_warnings<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<(T, Vec<String>)> {
        self.ask(Request::get(self.at(path, query)?), Bytes::new()).await
    }

    /// What it answers to a body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        Ok(self.ask(Request::post(self.at(path, query)?), serde_json::to_vec(body)?.into()).await?.0)
    }

    fn at(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<String> {
        let mut url = self.args.url.join(path).context("put the URL of the API together")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url.into())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: request::Builder,
        body: Bytes,
    ) -> anyhow::Result<(T, Vec<String>)> {
        let url = without_password(self.args.url.as_str());
        let request =
            request.body(Full::new(body)).map_err(|_| anyhow!("ask {url} (flag --url): it is no such URL"))?;
        let exchange = async {
            let answer = self.client.send_once(request).await?;
            anyhow::Ok((answer.status(), answer.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(self.args.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(anyhow!("no answer within {:?} (flag --timeout)", self.args.timeout)))
            .with_context(|| format!("ask the coordinator at {url} (flag --url)"))?;
        ensure!(
            status != StatusCode::UNAUTHORIZED,
            "the coordinator at {url} asks for credentials, and got none or others (flag --http.config.file)"
        );
        let Warned { answer, warnings }: Warned<T> = serde_json::from_slice(&body)
            .with_context(|| format!("read the answer of {url}, {status}; is it a narthex-coordinator?"))?;
        Ok((answer.into_result().map_err(anyhow::Error::msg)?, warnings))
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
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{any, header},
    };

    use super::*;
    use crate::args::{Cli, Command};

    #[tokio::test]
    async fn no_password_of_the_url_comes_out_in_an_error() {
        let flags = ["narthex-coordinator", "status", "--url=http://u:hunter2@127.0.0.1:0"];
        let Some(Command::Status(args)) = Cli::try_parse_from(flags).unwrap().command else { panic!("{flags:?}") };
        let error = Coordinator::of(&args).unwrap().get::<()>("api/v1/shards", &[]).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("ask the coordinator at http://u:xxxxx@127.0.0.1:0/ (flag --url): "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_protected_coordinator_is_asked_with_what_the_flag_names() {
        let server = MockServer::start().await;
        let empty = ResponseTemplate::new(200).set_body_string(r#"{"status":"success","data":[]}"#);
        Mock::given(header("authorization", "Bearer s3cret")).respond_with(empty).mount(&server).await;
        let refused = ResponseTemplate::new(401).set_body_string("Unauthorized\n");
        Mock::given(any()).respond_with(refused).with_priority(9).mount(&server).await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("client.yml"), "authorization: {credentials_file: token}\n").unwrap();
        std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
        let ask = async |flags: &[String]| {
            let url = format!("--url={}", server.uri());
            let flags = ["narthex-coordinator".to_owned(), "status".to_owned(), url].into_iter().chain(flags.to_vec());
            let Some(Command::Status(args)) = Cli::try_parse_from(flags).unwrap().command else { panic!("no status") };
            Coordinator::of(&args).unwrap().get::<Vec<()>>("api/v1/shards", &[]).await.map_err(|e| format!("{e:#}"))
        };
        let error = ask(&[]).await.unwrap_err();
        assert!(error.ends_with("asks for credentials, and got none or others (flag --http.config.file)"), "{error}");
        ask(&[format!("--http.config.file={}", dir.path().join("client.yml").display())]).await.unwrap();
    }
}
