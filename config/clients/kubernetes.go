package clients

import (
	"fmt"
	"strings"
)

// Kubernetes is what a cluster needs whose nodes run containerd: one file of YAML
// documents.
func Kubernetes(endpoints []Endpoint) []File {
	var data, copies strings.Builder
	for _, e := range endpoints {
		e.onNodes(&data, &copies)
	}
	if data.Len() == 0 {
		return []File{{Says: []string{"Sealgate stands at the registries' own names, and nodes believe its certificate: they need nothing."}}}
	}
	return []File{{
		Path: KubernetesFile,
		Says: []string{
			"kubectl apply -f this: hosts.toml on every node, and an egress policy for pods that pull by themselves.",
			"It closes the fallback of containerd's CRI, where its config.toml has config_path = \"" + ContainerdDir + "\" (as k3s, kind and",
			"managed clusters often have; see sealgate doctor --emit containerd); it does not hold a node before the DaemonSet has run there,",
			"nor pods in a namespace without the policy. A NetworkPolicy holds pods, never the node's own containerd.",
		},
		Text: fmt.Sprintf(kubernetesYAML, data.String(), copies.String(), egressPolicy(endpoints)),
	}}
}

// KubernetesFile is the name of the manifests: they are on no host.
const KubernetesFile = "/sealgate-nodes.yaml"

// onNodes adds the registry's files to the ConfigMap's data, and the commands that
// copy them to a node.
func (e Endpoint) onNodes(data, copies *strings.Builder) {
	text, withCA := e.hostsTOML(), len(e.CA) > 0 && !e.Plain
	if e.AtOwnName() {
		if !withCA {
			return // a node needs nothing
		}
		text = e.ownHostsTOML()
	}
	key := strings.ReplaceAll(e.Registry, ":", "_") // a key has no colon
	dir := "/certs.d/" + e.Registry
	if key != e.Registry {
		dir = "/certs.d/" + key + "_" // containerd's other spelling of host:port
	}
	run := func(format string, values ...any) {
		fmt.Fprintf(copies, strings.Repeat(" ", 14)+format+"\n", values...)
	}
	run("mkdir -p %s", dir)
	if withCA {
		fmt.Fprintf(data, "  %s.crt: |\n%s", key, indent(strings.TrimSpace(string(e.CA))+"\n", "    "))
		run("cp /config/%s.crt %s/ca.crt", key, dir)
	}
	fmt.Fprintf(data, "  %s.toml: |\n%s", key, indent(text, "    "))
	run("cp /config/%s.toml %s/.hosts.toml", key, dir)
	run("mv %s/.hosts.toml %s/hosts.toml", dir, dir) // never half a file
	if e.AtOwnName() {
		return
	}
	for _, alias := range Aliases(e.Registry) {
		fmt.Fprintf(data, "  %s.toml: |\n%s", alias, indent(aliasTOML(alias), "    "))
		run("mkdir -p /certs.d/%s", alias)
		run("cp /config/%s.toml /certs.d/%s/hosts.toml", alias, alias)
	}
}

// egressPolicy is the ipBlock rules of the policy: Sealgate's addresses, or none
// where they are not known.
func egressPolicy(endpoints []Endpoint) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, e := range endpoints {
		for _, ip := range e.Addresses {
			rule := fmt.Sprintf("    - to: [{ipBlock: {cidr: %s/%d}}]\n      ports: [{port: %s, protocol: TCP}]\n", ip, ip.BitLen(), e.portOf())
			if !seen[rule] {
				seen[rule] = true
				b.WriteString(rule)
			}
		}
	}
	return b.String()
}

const kubernetesYAML = `apiVersion: v1
kind: Namespace
metadata:
  name: sealgate-nodes
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: sealgate-hosts
  namespace: sealgate-nodes
data:
%s---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: sealgate-hosts
  namespace: sealgate-nodes
spec:
  selector:
    matchLabels: {app: sealgate-hosts}
  template:
    metadata:
      labels: {app: sealgate-hosts}
    spec:
      automountServiceAccountToken: false
      tolerations: [{operator: Exists}]
      containers:
        - name: copy
          image: docker.io/library/busybox:stable # any with sh, cp and sleep: one that you have signed
          command:
            - sh
            - -c
            - |
              set -e
%s              exec sleep 2147483647
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          resources:
            requests: {cpu: 1m, memory: 8Mi}
            limits: {memory: 16Mi}
          volumeMounts:
            - {name: config, mountPath: /config, readOnly: true}
            - {name: certs, mountPath: /certs.d}
      volumes:
        - name: config
          configMap: {name: sealgate-hosts}
        - name: certs
          hostPath: {path: ` + ContainerdDir + `, type: DirectoryOrCreate}
---
# One of these in each namespace in which pods pull by themselves (builders,
# docker in docker): DNS and Sealgate, and nothing else.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: sealgate-only
  namespace: default
spec:
  podSelector: {matchLabels: {pulls-images: "true"}}
  policyTypes: [Egress]
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
%s`
