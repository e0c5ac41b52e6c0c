// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver is the inner-loop tier: a real etcd and kube-apiserver, and
// kube-controller-manager where asked for, up in about four seconds for the Go
// tests of one package. RBAC, admission, TokenRequest, TokenReview and the key
// document are the real ones; there are no nodes, so no pod ever runs. It owns
// the processes and their folder and leaves nothing behind.
//
//	var server *apiserver.Server
//
//	func TestMain(m *testing.M) {
//		os.Exit(apiserver.Main(m, &server, apiserver.Options{}))
//	}
//
// Each test then asks for a namespace of its own: server.Namespace(t, nil).
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"podid/test/cluster/kubebin"
	"podid/test/cluster/pki"
	"podid/test/cluster/process"
)

// startLimit is how long a start may take, on a machine that is busy with other tests too.
const startLimit = 3 * time.Minute

// Options of a server; the zero value is a good one.
type Options struct {
	// Binaries is the folder of etcd and the components; "" finds it as kubebin.Dir does.
	Binaries string
	// ControllerManager runs the controllers too: default service accounts, garbage collection, Deployments, ends of namespaces.
	ControllerManager bool
	// Issuer of service account tokens; "" for https://kubernetes.default.svc.
	Issuer string
	// FeatureGates such as MutatingAdmissionPolicy=true, and RuntimeConfig such as admissionregistration.k8s.io/v1beta1=true.
	FeatureGates, RuntimeConfig []string
	// Address that the API server listens at and tells pods; "" for loopback, where pods cannot reach it. Other flags that
	// the nodes of a cluster need are set with it.
	Address string
	// Dir is an empty folder for everything, which Stop then leaves alone; "" makes one.
	Dir string
	// Args are more flags of kube-apiserver.
	Args []string
}

// A Server is a running control plane of Kubernetes.
type Server struct {
	// Config is the administrator's way in (system:masters).
	Config *rest.Config
	// Client is Config's clientset.
	Client kubernetes.Interface
	// Kubeconfig is a file that says the same as Config.
	Kubeconfig string
	// Dir has the keys in pki/ and the logs in log/; Stop removes it.
	Dir string

	opts        Options
	authority   *pki.Authority
	url         string
	port        int
	etcdURL     string
	etcd, api   *process.Process
	controllers *process.Process
	keys        []string // names of the token keys that are accepted; the first signs
	next        func() int
}

// Main starts a server for the tests of a package, runs them and stops it: what
// TestMain hands to os.Exit. The server is in *at while tests run.
func Main(m *testing.M, at **Server, opts Options) int {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := Start(ctx, opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	*at = s
	code := m.Run()
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the API server:", err)
		return 1
	}
	return code
}

// Start brings a server up and returns when it answers. The caller stops it.
func Start(ctx context.Context, opts Options) (*Server, error) {
	var err error
	if opts.Binaries == "" {
		if opts.Binaries, err = kubebin.Dir(os.Getenv("KUBERNETES")); err != nil {
			return nil, err
		}
	}
	if opts.Issuer == "" {
		opts.Issuer = "https://kubernetes.default.svc"
	}
	s := &Server{Dir: opts.Dir, opts: opts, keys: []string{"sa"}, next: counter()}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "podid-apiserver-"); err != nil {
			return nil, err
		}
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	s.port = ports[0]
	s.url = "https://" + net.JoinHostPort(s.address(), strconv.Itoa(s.port))
	s.etcdURL = "http://127.0.0.1:" + strconv.Itoa(ports[1])
	if err := s.makeKeys(); err != nil {
		return err
	}
	peer := "http://127.0.0.1:" + strconv.Itoa(ports[2])
	if s.etcd, err = process.Start(s.LogDir(), "etcd", s.Binary("etcd"), "--data-dir", filepath.Join(s.Dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", s.etcdURL, "--advertise-client-urls", s.etcdURL, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer); err != nil {
		return err
	}
	if err := s.startAPI(ctx); err != nil {
		return err
	}
	if !s.opts.ControllerManager {
		return nil
	}
	return s.startControllers(ctx)
}

func (s *Server) makeKeys() error {
	var err error
	if s.authority, err = pki.New(filepath.Join(s.Dir, "pki")); err != nil {
		return err
	}
	if _, err := s.authority.Write("apiserver", "kube-apiserver", nil, s.address(), "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1"); err != nil {
		return err
	}
	if _, err := s.authority.Write("front-proxy", "front-proxy-client", nil); err != nil {
		return err
	}
	if _, err := s.authority.Write("kubelet-client", "kube-apiserver-kubelet-client", []string{"system:masters"}); err != nil {
		return err
	}
	if err := s.authority.TokenKey("sa"); err != nil {
		return err
	}
	if s.Kubeconfig, err = s.authority.Kubeconfig("admin", s.url, "kubernetes-admin", "system:masters"); err != nil {
		return err
	}
	if s.Config, err = clientcmd.BuildConfigFromFlags("", s.Kubeconfig); err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	s.Config.QPS = -1 // tests are not to be held back by their own client
	s.Client, err = kubernetes.NewForConfig(s.Config)
	return err
}

func (s *Server) startAPI(ctx context.Context) error {
	key := s.authority.Path
	args := []string{
		"--etcd-servers", s.etcdURL, "--bind-address", s.address(), "--advertise-address", s.address(), "--secure-port", strconv.Itoa(s.port),
		"--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--client-ca-file", key("ca.crt"), "--tls-cert-file", key("apiserver.crt"), "--tls-private-key-file", key("apiserver.key"),
		"--requestheader-client-ca-file", key("ca.crt"), "--requestheader-allowed-names", "front-proxy-client", "--proxy-client-cert-file", key("front-proxy.crt"), "--proxy-client-key-file", key("front-proxy.key"),
		"--service-account-issuer", s.opts.Issuer, "--service-account-jwks-uri", s.opts.Issuer + "/openid/v1/jwks", "--api-audiences", "https://kubernetes.default.svc",
		"--service-account-signing-key-file", key(s.keys[0] + ".key"),
		"--service-cluster-ip-range", "10.96.0.0/16", "--profiling=false", "--allow-privileged",
	}
	if s.opts.Address == "" {
		args = append(args, "--endpoint-reconciler-type", "none")
	} else {
		// Webhooks are reached at their pods: the API server is outside of the pods' Service network.
		args = append(args, "--enable-aggregator-routing", "--kubelet-preferred-address-types", "InternalIP", "--kubelet-certificate-authority", key("ca.crt"),
			"--kubelet-client-certificate", key("kubelet-client.crt"), "--kubelet-client-key", key("kubelet-client.key"))
	}
	for _, k := range s.keys {
		args = append(args, "--service-account-key-file", key(k+".pub"))
	}
	if len(s.opts.FeatureGates) > 0 {
		args = append(args, "--feature-gates", strings.Join(s.opts.FeatureGates, ","))
	}
	if len(s.opts.RuntimeConfig) > 0 {
		args = append(args, "--runtime-config", strings.Join(s.opts.RuntimeConfig, ","))
	}
	p, err := process.Start(s.LogDir(), "kube-apiserver", s.Binary("kube-apiserver"), append(args, s.opts.Args...)...)
	if err != nil {
		return err
	}
	s.api = p
	return p.Ready(ctx, "the API server is ready", func(ctx context.Context) error {
		return s.Client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

func (s *Server) startControllers(ctx context.Context) error {
	kubeconfig, err := s.authority.Kubeconfig("controllers", s.url, "system:kube-controller-manager")
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	args := []string{
		"--kubeconfig", kubeconfig, "--use-service-account-credentials", "--service-account-private-key-file", s.authority.Path(s.keys[0] + ".key"),
		"--root-ca-file", s.authority.Path("ca.crt"), "--leader-elect=false", "--pvclaimbinder-sync-period", "2s", "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(ports[0]),
	}
	if s.controllers, err = process.Start(s.LogDir(), "kube-controller-manager", s.Binary("kube-controller-manager"), args...); err != nil {
		return err
	}
	return s.controllers.Ready(ctx, "the controllers made the default service account", func(ctx context.Context) error {
		return exists(ctx, s.Client, "default", "default")
	})
}

// Stop ends all processes and removes the folder that Start made.
func (s *Server) Stop() error {
	err := errors.Join(s.controllers.Stop(), s.api.Stop(), s.etcd.Kill())
	if s.opts.Dir != "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

// Restart stops the API server, starts it again on the same state and address,
// and waits until it answers. Controllers start anew too: they live on tokens.
func (s *Server) Restart(ctx context.Context) error {
	if err := errors.Join(s.controllers.Stop(), s.api.Stop()); err != nil {
		return err
	}
	if err := s.startAPI(ctx); err != nil || s.controllers == nil {
		return err
	}
	return s.startControllers(ctx)
}

// SwapTokenKey restarts the API server with a new key that signs service
// account tokens. The old one is not accepted any more, unless keepOld.
func (s *Server) SwapTokenKey(ctx context.Context, keepOld bool) error {
	name := "sa-" + strconv.Itoa(s.next())
	if err := s.authority.TokenKey(name); err != nil {
		return err
	}
	if keepOld {
		s.keys = slices.Insert(s.keys, 0, name)
	} else {
		s.keys = []string{name}
	}
	return s.Restart(ctx)
}

// URL is the API server's address.
func (s *Server) URL() string { return s.url }

// Authority signs the certificates of the cluster's parts.
func (s *Server) Authority() *pki.Authority { return s.authority }

// Binary is the path of a component.
func (s *Server) Binary(name string) string { return filepath.Join(s.opts.Binaries, name) }

// LogDir is where the logs of the components are.
func (s *Server) LogDir() string { return filepath.Join(s.Dir, "log") }

// CA is the certificate, in PEM, that the API server's certificate is signed with.
func (s *Server) CA() []byte { return s.authority.PEM() }

// Logs shows the end of the API server's log, for a test that failed.
func (s *Server) Logs() string { return s.api.Tail() }

func (s *Server) address() string {
	if s.opts.Address == "" {
		return "127.0.0.1"
	}
	return s.opts.Address
}

// freePorts finds ports of loopback that nobody listens at.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that none is found twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
