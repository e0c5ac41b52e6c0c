// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podpatch

import (
	"strconv"
	"strings"
	"time"
)

// Op is an operation of a JSON patch (RFC 6902). All are additions: on a
// member of an object that is a replacement, too.
type Op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Patch is what a pod lacks.
type Patch struct {
	Ops      []Op
	Warnings []string // for the person who makes the pod
}

// Patcher makes patches. Its fields are set once.
type Patcher struct {
	Settings Settings
	// Jitter returns a number from 0 to n-1. It spreads the renewal of tokens
	// that were made at the same time.
	Jitter func(n int64) int64
}

// shape is what the two kinds differ in.
type shape struct {
	volume, dir, file, audience string
	keys                        [2]string // variables: either of them in a container keeps both out
	values                      func(s *Settings, id Identity, tokenFile string) [2]string
}

var shapes = map[Kind]shape{
	PodIdentity: {
		volume: "eks-pod-identity-token", dir: "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount", file: "eks-pod-identity-token", audience: AudiencePodIdentity,
		keys: [2]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"},
		values: func(s *Settings, _ Identity, f string) [2]string {
			return [2]string{s.CredentialsURI, f}
		},
	},
	WebIdentity: {
		volume: "aws-iam-token", dir: "/var/run/secrets/eks.amazonaws.com/serviceaccount", file: "token", audience: AudienceSTS,
		keys: [2]string{"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"},
		values: func(_ *Settings, id Identity, f string) [2]string {
			return [2]string{id.RoleARN, f}
		},
	},
}

// The volume of the CA and its place.
const (
	caVolume = "podid-ca"
	caDir    = "/var/run/secrets/podid.dev/ca"
)

// Patch returns what the pod lacks to have the identity. A pod that lacks
// nothing gets no operation. The rules are those of AWS' webhook, see its
// README, but for what the package comment says.
func (p *Patcher) Patch(pod *Pod, id Identity) Patch {
	sh := shapes[id.Kind]
	if id.Kind == WebIdentity {
		if a := id.Annotations[AnnotationAudience]; a != "" {
			sh.audience = a
		}
	}
	w := &work{s: &p.Settings, pod: pod, id: id, shape: sh, agent: p.Settings.agentHost(), skip: skipped(pod.Metadata.Annotations[AnnotationSkipContainers])}
	life, warnings := p.Settings.expiration(pod, id)
	if id.Kind == PodIdentity && life == DefaultExpiration {
		life = spread(life, p.Jitter)
	}
	w.out.Warnings = warnings
	w.out.Ops = make([]Op, 0, 2+4*(len(pod.Spec.Containers)+len(pod.Spec.InitContainers)))
	regional, warnings := p.Settings.regionalSTS(id)
	w.regional, w.out.Warnings = regional, append(w.out.Warnings, warnings...)
	if id.Kind == PodIdentity {
		w.label()
	}
	w.volumes(life)
	w.containers("/spec/containers/", pod.Spec.Containers)
	w.containers("/spec/initContainers/", pod.Spec.InitContainers)
	return w.out
}

// spread takes up to two hours off, as AWS' webhook does: 79,200 to 86,400 s.
func spread(life time.Duration, jitter func(int64) int64) time.Duration {
	const width = int64(2 * time.Hour / time.Second)
	return life - time.Duration(jitter(width+1))*time.Second
}

// skipped reads a list of containers' names.
func skipped(list string) map[string]bool {
	if list == "" {
		return nil
	}
	out := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		out[strings.TrimSpace(name)] = true
	}
	return out
}

// work is a patch in the making.
type work struct {
	s        *Settings
	pod      *Pod
	id       Identity
	shape    shape
	skip     map[string]bool
	agent    string // its host, as proxy exceptions have it
	regional bool
	out      Patch
}

func (w *work) add(path string, value any) {
	w.out.Ops = append(w.out.Ops, Op{Op: "add", Path: path, Value: value})
}

func (w *work) label() {
	const enabled = "enabled"
	switch {
	case w.pod.Metadata.Labels[LabelEnabled] == enabled:
	case len(w.pod.Metadata.Labels) == 0:
		w.add("/metadata/labels", map[string]string{LabelEnabled: enabled})
	default:
		w.add("/metadata/labels/"+strings.ReplaceAll(LabelEnabled, "/", "~1"), enabled)
	}
}

// Volumes as the API has them.
type (
	projectedVolume struct {
		Name      string    `json:"name"`
		Projected projected `json:"projected"`
	}
	projected struct {
		Sources []projection `json:"sources"`
	}
	projection struct {
		Token tokenProjection `json:"serviceAccountToken"`
	}
	tokenProjection struct {
		Audience   string `json:"audience"`
		Expiration int64  `json:"expirationSeconds"`
		Path       string `json:"path"`
	}
	configMapVolume struct {
		Name      string    `json:"name"`
		ConfigMap configMap `json:"configMap"`
	}
	configMap struct {
		Name  string    `json:"name"`
		Items []keyPath `json:"items"`
	}
	keyPath struct {
		Key  string `json:"key"`
		Path string `json:"path"`
	}
	volumeMount struct {
		Name      string `json:"name"`
		ReadOnly  bool   `json:"readOnly"`
		MountPath string `json:"mountPath"`
	}
	envVar struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

func (w *work) withCA() bool { return w.s.CA.ConfigMap != "" }

func (w *work) volumes(life time.Duration) {
	var lacking []any
	if !w.pod.Spec.hasVolume(w.shape.volume) {
		lacking = append(lacking, projectedVolume{w.shape.volume, projected{[]projection{{tokenProjection{
			Audience: w.shape.audience, Expiration: int64(life / time.Second), Path: w.shape.file,
		}}}}})
	}
	if w.withCA() && !w.pod.Spec.hasVolume(caVolume) {
		lacking = append(lacking, configMapVolume{caVolume, configMap{w.s.CA.ConfigMap, []keyPath{{w.s.CA.Key, w.s.CA.Key}}}})
	}
	if len(w.pod.Spec.Volumes) == 0 && len(lacking) > 0 {
		w.add("/spec/volumes", lacking)
		return
	}
	for i, v := range lacking {
		w.add("/spec/volumes/"+strconv.Itoa(i), v)
	}
}

func (w *work) containers(path string, list []Container) {
	for i := range list {
		if !w.skip[list[i].Name] {
			w.container(path+strconv.Itoa(i), &list[i])
		}
	}
}

func (w *work) container(path string, c *Container) {
	if w.id.Kind == PodIdentity {
		w.proxyExceptions(path, c)
	}
	appendTo(w, path+"/env", len(c.Env), w.env(c))
	var mounts []volumeMount
	if !c.hasMount(w.shape.volume) {
		mounts = append(mounts, volumeMount{w.shape.volume, true, w.shape.dir})
	}
	if w.withCA() && !c.hasMount(caVolume) {
		mounts = append(mounts, volumeMount{caVolume, true, caDir})
	}
	appendTo(w, path+"/volumeMounts", len(c.VolumeMounts), mounts)
}

// appendTo adds to the end of a list, or the list where there is none.
func appendTo[T any](w *work, path string, have int, items []T) {
	if have == 0 && len(items) > 0 {
		w.add(path, items)
		return
	}
	for _, x := range items {
		w.add(path+"/-", x)
	}
}

// env is what the container's environment lacks, in the order of AWS' webhook.
func (w *work) env(c *Container) []envVar {
	var out []envVar
	if w.regional && !c.hasEnv("AWS_STS_REGIONAL_ENDPOINTS") {
		out = append(out, envVar{"AWS_STS_REGIONAL_ENDPOINTS", "regional"})
	}
	if w.s.Region != "" && !c.hasEnv("AWS_REGION", "AWS_DEFAULT_REGION") {
		out = append(out, envVar{"AWS_DEFAULT_REGION", w.s.Region}, envVar{"AWS_REGION", w.s.Region})
	}
	if !c.hasEnv(w.shape.keys[0], w.shape.keys[1]) {
		values := w.shape.values(w.s, w.id, w.path(w.shape.dir+"/"+w.shape.file))
		out = append(out, envVar{w.shape.keys[0], values[0]}, envVar{w.shape.keys[1], values[1]})
	}
	if w.s.DisableIMDS && !c.hasEnv("AWS_EC2_METADATA_DISABLED") {
		out = append(out, envVar{"AWS_EC2_METADATA_DISABLED", "true"})
	}
	return append(out, w.clientOfSTS(c)...)
}

// clientOfSTS is what a pod needs where STS is not AWS'.
func (w *work) clientOfSTS(c *Container) []envVar {
	var out []envVar
	if w.s.STSEndpoint != "" && !c.hasEnv("AWS_ENDPOINT_URL_STS") {
		out = append(out, envVar{"AWS_ENDPOINT_URL_STS", w.s.STSEndpoint})
	}
	if w.withCA() {
		file := w.path(caDir + "/" + w.s.CA.Key)
		for _, name := range []string{"AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			if !c.hasEnv(name) {
				out = append(out, envVar{name, file})
			}
		}
	}
	return out
}

// path is a file's name as the pod's operating system has it. Mounts keep the
// form with slashes: the kubelet converts those itself.
func (w *work) path(p string) string {
	if !w.pod.Spec.isWindows() {
		return p
	}
	return "C:" + strings.ReplaceAll(p, "/", `\`)
}

// proxyExceptions keeps the way to the agent from leading through a proxy. A
// value that comes from elsewhere is not known here, and left.
func (w *work) proxyExceptions(path string, c *Container) {
	for i := range c.Env {
		e := &c.Env[i]
		if e.Name != "NO_PROXY" && e.Name != "no_proxy" || e.ValueFrom != nil || excepts(e.Value, w.agent) {
			continue
		}
		value := w.agent
		if old := strings.TrimRight(e.Value, ", "); old != "" {
			value = old + "," + w.agent
		}
		w.add(path+"/env/"+strconv.Itoa(i)+"/value", value)
	}
}
