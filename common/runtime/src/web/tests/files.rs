use super::*;

#[tokio::test]
async fn a_changed_token_is_in_force_soon_and_the_old_one_is_not() {
    let scene = Scene::new("", "one").await;
    assert_eq!(scene.status("/", "Bearer one").await, 200);
    scene.write("token", "two\n");
    soon("the new token lets in", async || scene.status("/", "Bearer two").await == 200).await;
    assert_eq!(scene.status("/", "Bearer one").await, 401);
}

#[tokio::test]
async fn files_that_become_unusable_change_nothing_until_they_are_mended() {
    let scene = Scene::new("", "one").await;
    assert!(scene.has_metric("narthex_web_config_last_reload_successful 1"));
    let is_bad = || scene.has_metric("narthex_web_config_last_reload_successful 0");
    for (name, text) in [("token", " \n"), ("web.yml", "basic_auth_users: {a: b}\n")] {
        let before = std::fs::read_to_string(scene.dir.path().join(name)).unwrap();
        scene.write(name, text);
        soon("it is noticed", async || is_bad()).await;
        assert_eq!(scene.status("/", "Bearer one").await, 200, "{name}");
        assert_eq!(scene.status("/", "").await, 401, "{name}");
        scene.write(name, &before);
        soon("it is mended", async || !is_bad()).await;
    }
    std::fs::remove_file(scene.dir.path().join("token")).unwrap();
    soon("it is noticed", async || is_bad()).await;
    assert_eq!((scene.status("/", "Bearer one").await, scene.status("/", "").await), (200, 401));
}

#[tokio::test]
async fn nothing_is_served_with_files_that_are_wrong_at_the_start() {
    let (dir, _) = Scene::files();
    let (_runs, shutdown) = Shutdown::new();
    let refused = |web_config: &str, token: &str| {
        let args = args(dir.path(), web_config, token);
        let error = Web::start(&args, &mut Registry::default(), shutdown.clone()).err().unwrap();
        format!("{error:#}").replace(&dir.path().display().to_string(), "DIR")
    };
    let with_tls = |lines: &str| format!("tls_server_config:\n{lines}\n");
    let no_file = "No such file or directory (os error 2)";
    for (config, expected) in [
        (
            with_tls("  cert_file: server.pem\n  key_file: none"),
            format!("DIR/web.yml: read key_file DIR/none of tls_server_config: {no_file}"),
        ),
        (
            with_tls("  cert_file: none\n  key_file: none"),
            format!("DIR/web.yml: read cert_file DIR/none of tls_server_config: {no_file}"),
        ),
        (
            with_tls("  cert_file: server.key\n  key_file: server.key"),
            "DIR/web.yml: cert_file DIR/server.key of tls_server_config: there is no certificate in PEM".to_owned(),
        ),
        (
            with_tls("  cert_file: server.pem\n  key: hunter2"),
            "DIR/web.yml: key of tls_server_config: there is no private key in PEM".to_owned(),
        ),
        (
            with_tls("  cert_file: ca.pem\n  key_file: server.key"),
            "DIR/web.yml: use cert_file DIR/ca.pem of tls_server_config with key_file DIR/server.key of \
             tls_server_config: tls: private key does not match public key"
                .to_owned(),
        ),
        (
            with_tls(
                "  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
                 client_ca_file: none",
            ),
            format!("DIR/web.yml: read client_ca_file DIR/none of tls_server_config: {no_file}"),
        ),
        (
            with_tls(
                "  cert_file: server.pem\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
                 client_ca: hunter2",
            ),
            "DIR/web.yml: client_ca of tls_server_config: there is no certificate in PEM".to_owned(),
        ),
        ("a: b".to_owned(), "DIR/web.yml:1: field a not found in type web.Config".to_owned()),
    ] {
        assert_eq!(refused(&config, ""), expected);
    }
    assert_eq!(refused("", " \n"), "DIR/token (flag --web.token-file): it is empty");
    assert_eq!(
        refused("", "hunter 2"),
        "DIR/token (flag --web.token-file): a token is one word of visible ASCII characters"
    );
    let missing = WebArgs { web_config_file: Some("/nowhere/web.yml".into()), web_token_file: None };
    let error = format!("{:#}", Web::start(&missing, &mut Registry::default(), shutdown).err().unwrap());
    assert_eq!(error, format!("read /nowhere/web.yml (flag --web.config.file): {no_file}"));
}

#[tokio::test]
async fn what_protects_is_not_shown() {
    let (dir, _) = Scene::files();
    let key = std::fs::read_to_string(dir.path().join("server.key")).unwrap();
    let config = format!(
        "tls_server_config:\n  cert_file: server.pem\n  key: |\n    {}\nbasic_auth_users:\n  me: {}\n",
        key.replace('\n', "\n    "),
        bcrypt::hash("hunter2", 4).unwrap()
    );
    let args = args(dir.path(), &config, "s3cret");
    let (_runs, shutdown) = Shutdown::new();
    let web = Web::start(&args, &mut Registry::default(), shutdown).unwrap();
    let shown = format!("{:?}", web.protection.borrow());
    for secret in ["s3cret", "$2", "PRIVATE"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn files_that_would_let_in_everybody_are_not_taken_while_it_runs() {
    let (dir, _) = Scene::files();
    let user = format!("basic_auth_users:\n  me: {}\n", bcrypt::hash("hunter2", 4).unwrap());
    let with_tls = format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{user}");
    let args = args(dir.path(), &with_tls, "");
    let (_runs, shutdown) = Shutdown::new();
    let web = Web::start(&args, &mut Registry::default(), shutdown).unwrap();
    let known = std::sync::Arc::clone(&web.protection.borrow());
    let looked = |text: &str| {
        std::fs::write(dir.path().join("web.yml"), text).unwrap();
        super::super::files::changed(&known, &args).map(|change| change.is_some()).map_err(|error| error.to_string())
    };
    // As a file is for a moment while another is copied over it, or for good where the disk is full.
    assert!(looked("").unwrap_err().starts_with("they would let in everybody"));
    assert!(looked(&user).unwrap_err().starts_with("they would end TLS"));
    assert_eq!(looked(&format!("{with_tls}  you: {}\n", bcrypt::hash("x", 4).unwrap())), Ok(true));
}
