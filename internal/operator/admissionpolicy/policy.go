// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"podid/internal/operator/podpatch"
)

// Name is that of policy, binding, and the parameters in each namespace.
const Name = "podid-operator"

// Group, Policy and Binding are the kinds of the API server's policies.
const (
	Group   = "admissionregistration.k8s.io"
	Policy  = "MutatingAdmissionPolicy"
	Binding = Policy + "Binding"
)

// Parameter is what a service account's entry in its namespace's parameters says.
func Parameter(s *podpatch.Settings, id podpatch.Identity) map[string]any {
	life, regional := s.OfServiceAccount(id)
	out := object{"kind": string(id.Kind), "tokenExpirationSeconds": int64(life / time.Second), "regionalSTS": regional, "audience": podpatch.AudiencePodIdentity}
	if id.Kind == podpatch.WebIdentity {
		out["audience"], out["roleARN"] = podpatch.AudienceSTS, id.RoleARN
		if a := id.Annotations[podpatch.AnnotationAudience]; a != "" {
			out["audience"] = a
		}
	}
	return out
}

// quote writes a string of CEL: its escapes are those of Go, for what is valid UTF-8.
func quote(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "�")) }

// object is JSON's.
type object = map[string]any

func list[T any](items ...T) []any {
	out := make([]any, len(items))
	for i, x := range items {
		out[i] = x
	}
	return out
}

// Objects are policy and binding in a version that the API server has.
// Excluded are the namespaces that are left alone.
func Objects(version string, s *podpatch.Settings, excluded []string, owners []metav1.OwnerReference) []*unstructured.Unstructured {
	policy := object{
		"paramKind": object{"apiVersion": Kind().GroupVersion().String(), "kind": Kind().Kind},
		"matchConstraints": object{
			"resourceRules": list(object{
				"apiGroups": list(""), "apiVersions": list("v1"), "resources": list("pods"), "operations": list("CREATE"), "scope": "Namespaced",
			}),
			"matchPolicy": "Equivalent",
			"namespaceSelector": object{"matchExpressions": list(
				object{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(excluded...)},
				object{"key": "podid.dev/injection", "operator": "NotIn", "values": list("disabled")},
			)},
			"objectSelector": object{"matchExpressions": list(object{"key": podpatch.LabelSkip, "operator": "DoesNotExist"})},
		},
		"matchConditions":    list(object{"name": "has-identity", "expression": "object.spec.?serviceAccountName.orValue('default') in params.?serviceAccounts.orValue({})"}),
		"failurePolicy":      "Ignore",
		"reinvocationPolicy": "IfNeeded",
		"variables":          variables(s),
		"mutations":          mutations(s),
	}
	binding := object{"policyName": Name, "paramRef": object{"name": Name, "parameterNotFoundAction": "Allow"}}
	return []*unstructured.Unstructured{made(version, Policy, policy, owners), made(version, Binding, binding, owners)}
}

func made(version, kind string, spec object, owners []metav1.OwnerReference) *unstructured.Unstructured {
	return named(schema.GroupVersionKind{Group: Group, Version: version, Kind: kind}, Name, spec, owners)
}

func named(gvk schema.GroupVersionKind, name string, spec object, owners []metav1.OwnerReference) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: object{"spec": spec}}
	u.SetGroupVersionKind(gvk)
	u.SetName(name)
	u.SetLabels(map[string]string{labelManager: manager})
	u.SetOwnerReferences(owners)
	return u
}

// both writes an expression for either kind of identity.
func both(pod, web string) string { return "(variables.pod ? " + pod + " : " + web + ")" }

// file writes the name of a file as the pod's operating system has it.
func file(path string) string {
	return "(variables.windows ? " + quote("C:"+strings.ReplaceAll(path, "/", `\`)) + " : " + quote(path) + ")"
}

// literal is an object of fields and their values, one after the other. Values
// of different kinds stand together as dyn only, and the types of the object's
// own fields are not known where variables are.
func literal(fields ...string) string {
	var out []string
	for pair := range slices.Chunk(fields, 2) {
		out = append(out, quote(pair[0])+": dyn("+pair[1]+")")
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func variable(name, expression string) object {
	return object{"name": name, "expression": expression}
}

// The places of the two kinds, as podpatch has them.
const (
	podVolume, podDir, podFile = "eks-pod-identity-token", "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount", "eks-pod-identity-token"
	webVolume, webDir, webFile = "aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount", "token"
	caVolume, caDir            = "podid-ca", "/var/run/secrets/podid.dev/ca"
)

func variables(s *podpatch.Settings) []any {
	annotation := func(name string) string {
		return "object.metadata.?annotations[?" + quote(name) + "].orValue('')"
	}
	const asks = "variables.asks"
	out := list(
		variable("id", "params.serviceAccounts[object.spec.?serviceAccountName.orValue('default')]"),
		variable("pod", "variables.id.kind == "+quote(string(podpatch.PodIdentity))),
		variable("windows", "object.spec.?os.?name.orValue('') == 'windows' || object.spec.?nodeSelector[?'kubernetes.io/os'].orValue('') == 'windows' || object.spec.?nodeSelector[?'beta.kubernetes.io/os'].orValue('') == 'windows'"),
		variable("skip", annotation(podpatch.AnnotationSkipContainers)+".split(',').map(n, n.trim())"),
		variable("asks", annotation(podpatch.AnnotationExpiration)),
		// What is no number, or none of 64 bits, is left out; the rest is kept within Kubernetes' limits.
		variable("wanted", asks+".matches('^[+-]?[0-9]{1,18}$') ? int("+asks+") : "+
			asks+".matches('^[+]?[0-9]{19}$') && "+asks+".find('[0-9]+') <= '9223372036854775807' ? 4294967296 : "+
			asks+".matches('^-[0-9]{19}$') && "+asks+".find('[0-9]+') <= '9223372036854775808' ? 0 : variables.id.tokenExpirationSeconds"),
		variable("life", "variables.wanted < 600 ? 600 : variables.wanted > 4294967296 ? 4294967296 : variables.wanted"),
		variable("volume", both(quote(podVolume), quote(webVolume))),
		variable("directory", both(quote(podDir), quote(webDir))),
		variable("token", both(file(podDir+"/"+podFile), file(webDir+"/"+webFile))),
	)
	for _, of := range kinds {
		out = append(out, variable(of, "object.spec.?"+of+".orValue([])"))
	}
	return out
}

// kinds are the lists of containers.
var kinds = []string{"containers", "initContainers"}

// addition adds one value at a path below every container c for which the
// condition holds. Values are made of literals and strings only: what is of
// the API server's own types, such as an entry that a container has already,
// is no value of a patch on Kubernetes 1.37, which refuses to write it.
type addition struct{ condition, path, value string }

// in writes additions as patches to one list of containers, in this order.
func (a addition) in(of string) string {
	return "variables." + of + ".transformList(i, c, !(c.name in variables.skip) && " + a.condition +
		", JSONPatch{op: 'add', path: '/spec/" + of + "/' + string(i) + " + a.path + ", value: " + a.value + "})"
}

const ownEnv = "c.?env.orValue([])"

// environment is what a container lacks, and the way to the agent around
// proxies in what it has.
func environment(s *podpatch.Settings) []addition {
	out := []addition{{"size(" + ownEnv + ") == 0", "'/env'", "[]"}, aroundProxy("NO_PROXY", s), aroundProxy("no_proxy", s)}
	lacks := func(names ...string) string {
		for i, n := range names {
			names[i] = quote(n)
		}
		return "!" + ownEnv + ".exists(e, e.name in [" + strings.Join(names, ", ") + "])"
	}
	add := func(condition string, entries ...[2]string) {
		for _, e := range entries {
			out = append(out, addition{"(" + condition + ")", "'/env/-'", literal("name", quote(e[0]), "value", e[1])})
		}
	}
	add("variables.id.regionalSTS && "+lacks("AWS_STS_REGIONAL_ENDPOINTS"), [2]string{"AWS_STS_REGIONAL_ENDPOINTS", "'regional'"})
	if s.Region != "" {
		add(lacks("AWS_REGION", "AWS_DEFAULT_REGION"), [2]string{"AWS_DEFAULT_REGION", quote(s.Region)}, [2]string{"AWS_REGION", quote(s.Region)})
	}
	add("variables.pod && "+lacks("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
		[2]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", quote(s.CredentialsURI)}, [2]string{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "variables.token"})
	add("!variables.pod && "+lacks("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
		[2]string{"AWS_ROLE_ARN", "variables.id.roleARN"}, [2]string{"AWS_WEB_IDENTITY_TOKEN_FILE", "variables.token"})
	if s.DisableIMDS {
		add(lacks("AWS_EC2_METADATA_DISABLED"), [2]string{"AWS_EC2_METADATA_DISABLED", "'true'"})
	}
	if s.STSEndpoint != "" {
		add(lacks("AWS_ENDPOINT_URL_STS"), [2]string{"AWS_ENDPOINT_URL_STS", quote(s.STSEndpoint)})
	}
	if s.CA.ConfigMap != "" {
		for _, name := range []string{"AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			add(lacks(name), [2]string{name, file(caDir + "/" + s.CA.Key)})
		}
	}
	return out
}

// aroundProxy merges the agent's address into a container's own exceptions. Of
// several entries of one name it is the last that counts, so that one is changed.
func aroundProxy(name string, s *podpatch.Settings) addition {
	agent, bare := agentOf(s)
	const value = "e.?value.orValue('')"
	needs := "e.name == " + quote(name) + " && !has(e.valueFrom) && !" + value + ".split(',').exists(x, x.trim() in ['*', " + quote(agent) + ", " + quote(bare) + "])"
	places := ownEnv + ".transformList(j, e, " + needs + ", j)"
	place := places + "[size(" + places + ") - 1]"
	kept := "c.env[" + place + "].?value.orValue('').find('(?s)^.*[^, ]')"
	return addition{
		"variables.pod && size(" + places + ") > 0",
		"'/env/' + string(" + place + ") + '/value'",
		"(" + kept + " == '' ? " + quote(agent) + " : " + kept + " + " + quote(","+agent) + ")",
	}
}

// agentOf is the agent's address as proxy exceptions have it, and without brackets.
func agentOf(s *podpatch.Settings) (agent, bare string) {
	u, err := url.Parse(s.CredentialsURI)
	if err != nil {
		return "", ""
	}
	bare = u.Hostname()
	if a, err := netip.ParseAddr(bare); err == nil && a.Is6() {
		return "[" + bare + "]", bare
	}
	return bare, bare
}

// mounts are those that a container lacks.
func mounts(s *podpatch.Settings) []addition {
	const own = "c.?volumeMounts.orValue([])"
	out := []addition{{"size(" + own + ") == 0", "'/volumeMounts'", "[]"}}
	add := func(name, dir string) {
		out = append(out, addition{"!" + own + ".exists(m, m.name == " + name + ")", "'/volumeMounts/-'", literal("name", name, "readOnly", "true", "mountPath", dir)})
	}
	add("variables.volume", "variables.directory")
	if s.CA.ConfigMap != "" {
		add(quote(caVolume), quote(caDir))
	}
	return out
}

// volumes are patches that put those that the pod lacks before its own.
func volumes(s *podpatch.Settings) string {
	const own = "object.spec.?volumes.orValue([])"
	patch := func(condition, path, value string) string {
		return "(" + condition + " ? [JSONPatch{op: 'add', path: '/spec/volumes" + path + "', value: " + value + "}] : [])"
	}
	first := func(name, kind, value string) string {
		return patch("!"+own+".exists(v, v.name == "+name+")", "/0", literal("name", name, kind, value))
	}
	out := []string{patch("size("+own+") == 0", "", "[]")}
	if s.CA.ConfigMap != "" {
		key := quote(s.CA.Key)
		out = append(out, first(quote(caVolume), "configMap", literal("name", quote(s.CA.ConfigMap), "items", "["+literal("key", key, "path", key)+"]")))
	}
	token := literal("audience", "variables.id.audience", "expirationSeconds", "variables.life", "path", both(quote(podFile), quote(webFile)))
	out = append(out, first("variables.volume", "projected", literal("sources", "["+literal("serviceAccountToken", token)+"]")))
	return strings.Join(out, " + ")
}

// mutations are narrow, as the webhook's: each adds what is missing and writes
// nothing anew.
func mutations(s *podpatch.Settings) []any {
	patch := func(expression string) object {
		return object{"patchType": "JSONPatch", "jsonPatch": object{"expression": expression}}
	}
	label := quote(podpatch.LabelEnabled)
	out := list(
		patch("!variables.pod || object.metadata.?labels["+"?"+label+"].orValue('') == 'enabled' ? [] : size(object.metadata.?labels.orValue({})) == 0"+
			" ? [JSONPatch{op: 'add', path: '/metadata/labels', value: {"+label+": 'enabled'}}]"+
			" : [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey("+label+"), value: 'enabled'}]"),
		patch(volumes(s)),
	)
	for _, of := range kinds {
		for _, additions := range [][]addition{environment(s), mounts(s)} {
			var all []string
			for _, a := range additions {
				all = append(all, a.in(of))
			}
			out = append(out, patch(strings.Join(all, " + ")))
		}
	}
	return out
}
