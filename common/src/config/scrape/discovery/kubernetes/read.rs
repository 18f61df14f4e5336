//! One entry read and validated, in the order and the words of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::super::super::{
        HttpClientConfig,
        fields::{Fault, Fields},
        go_url,
        http_client::Secret,
        paths::BaseDir,
        yaml::Node,
    },
    KubernetesApi, KubernetesAttach, KubernetesNamespaces, KubernetesRole, KubernetesSdConfig, KubernetesSelector,
    field_selector, label_selector,
};

const ROLE_MISSING: &str = "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)";

pub(in super::super) fn read(node: &Node, dir: BaseDir<'_>) -> Result<KubernetesSdConfig, Fault> {
    let fields = Fields::of(node, "kubernetes.plain")?;
    let role = read_role(&fields)?;
    let namespaces = read_namespaces(&fields)?;
    let selectors = written_selectors(&fields)?;
    let attach = read_attach(&fields)?;
    let http_client = HttpClientConfig::read(&fields, dir)?;
    let api = read_api(&fields, dir, namespaces.own, http_client)?;
    let role_line = fields.line_of("role");
    fields.finish()?;
    let role = role.ok_or_else(|| Fault::new(role_line, ROLE_MISSING))?;
    let selectors = check_selectors(role, selectors)?;
    Ok(KubernetesSdConfig { api, role, namespaces, selectors, attach })
}

/// A role that is not known counts as a field that is not: Prometheus has new ones now and then.
fn read_role(fields: &Fields<'_>) -> Result<Option<KubernetesRole>, Fault> {
    let text = fields.string("role", "")?;
    let Some(node) = fields.get_filled("role") else { return Ok(None) };
    let known = KubernetesRole::ALL.into_iter().find(|role| role.as_str() == text);
    let unknown =
        || Fault { is_of_unknown_field: true, ..Fault::at(node, format!("unknown Kubernetes SD role {text:?}")) };
    known.map(Some).ok_or_else(unknown)
}

fn read_namespaces(fields: &Fields<'_>) -> Result<KubernetesNamespaces, Fault> {
    let Some(node) = fields.get_filled("namespaces") else { return Ok(KubernetesNamespaces::default()) };
    let fields = Fields::of(node, "kubernetes.plain")?;
    let own = fields.bool("own_namespace", false)?;
    let names = fields.strings("names")?.into_iter().collect::<BTreeSet<_>>();
    fields.finish()?;
    Ok(KubernetesNamespaces { own, names })
}

fn read_attach(fields: &Fields<'_>) -> Result<KubernetesAttach, Fault> {
    let Some(node) = fields.get_filled("attach_metadata") else { return Ok(KubernetesAttach::default()) };
    let fields = Fields::of(node, "kubernetes.AttachMetadataConfig")?;
    let attach = KubernetesAttach {
        node: fields.bool("node", false)?,
        namespace: fields.bool("namespace", false)?,
        deployment: fields.bool("deployment", false)?,
        job: fields.bool("job", false)?,
        cron_job: fields.bool("cronjob", false)?,
    };
    fields.finish()?;
    Ok(attach)
}

fn read_api(
    fields: &Fields<'_>,
    dir: BaseDir<'_>,
    own_namespace: bool,
    http_client: HttpClientConfig,
) -> Result<KubernetesApi, Fault> {
    let refuse = |field, message: &str| Err(Fault::new(fields.line_of(field), message));
    let url = fields.string("api_server", "")?;
    let has_server = fields.get_filled("api_server").is_some();
    let kubeconfig = fields.string("kubeconfig_file", "")?;
    let has_kubeconfig = !kubeconfig.is_empty();
    let has_http_settings = http_client != HttpClientConfig::default();
    if has_server && let Err(problem) = go_url::parse(&url) {
        return refuse("api_server", &format!("field api_server: {problem}"));
    }
    if has_server && has_kubeconfig {
        return refuse("kubeconfig_file", "cannot use 'kubeconfig_file' and 'api_server' simultaneously");
    }
    if has_kubeconfig && has_http_settings {
        let message = "cannot use a custom HTTP client configuration together with 'kubeconfig_file'";
        return refuse("kubeconfig_file", message);
    }
    if !has_server && has_http_settings {
        let message = "to use custom HTTP client configuration please provide the 'api_server' URL explicitly";
        return refuse("api_server", message);
    }
    if has_server && own_namespace {
        return refuse("namespaces", "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously");
    }
    if has_kubeconfig && own_namespace {
        return refuse("namespaces", "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously");
    }
    Ok(match (has_server, has_kubeconfig) {
        (true, _) => KubernetesApi::Server { url: Secret::new(url), http_client: Box::new(http_client) },
        (false, true) => KubernetesApi::Kubeconfig(dir.join(&kubeconfig)),
        (false, false) => KubernetesApi::InCluster,
    })
}

/// A selector as it stands there. One that does not say which kind of object it is about is about none.
struct WrittenSelector {
    line: usize,
    role: Option<KubernetesRole>,
    selector: KubernetesSelector,
}

fn written_selectors(fields: &Fields<'_>) -> Result<Vec<WrittenSelector>, Fault> {
    let written = |node: &Node| {
        let fields = Fields::of(node, "kubernetes.SelectorConfig")?;
        let role = read_role(&fields)?;
        let selector = KubernetesSelector { label: fields.string("label", "")?, field: fields.string("field", "")? };
        fields.finish()?;
        Ok(WrittenSelector { line: node.line, role, selector })
    };
    fields.list("selectors", "[]kubernetes.SelectorConfig")?.iter().map(written).collect()
}

fn check_selectors(
    role: KubernetesRole,
    written: Vec<WrittenSelector>,
) -> Result<BTreeMap<KubernetesRole, KubernetesSelector>, Fault> {
    let mut selectors = BTreeMap::new();
    for WrittenSelector { line, role: of, selector } in written {
        let refuse = |message: String| Fault::new(line, message);
        let Some(of) = of.filter(|of| role.selectable().contains(of)) else {
            let allowed: Vec<&str> = role.selectable().iter().map(|role| role.as_str()).collect();
            return Err(refuse(format!("{role} role supports only {} selectors", allowed.join(", "))));
        };
        if selectors.contains_key(&of) {
            return Err(refuse(format!("duplicated selector role: {of}")));
        }
        field_selector::check(&selector.field).map_err(refuse)?;
        label_selector::check(&selector.label).map_err(refuse)?;
        selectors.insert(of, selector);
    }
    Ok(selectors)
}
