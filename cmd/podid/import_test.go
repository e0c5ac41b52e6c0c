// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"podid/internal/controlplane/controlplanetest"
)

// TestImportScripts runs testdata/import against a control plane as in
// TestScripts, with a second one that stands for AWS: account 444455556666,
// cluster prod. The profile source is its admin.
func TestImportScripts(t *testing.T) {
	env := startDev(t)
	aws := controlplanetest.Start(t, controlplanetest.Options{Settings: map[string]string{"PODID_ACCOUNT_ID": "444455556666"}})
	aws.Register("prod", nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/import", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			shared := filepath.Join(e.WorkDir, "credentials")
			profiles := fmt.Sprintf("[source]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = us-west-2\n\n[nobody]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\nregion = us-west-2\n",
				aws.AdminID, aws.Secret)
			e.Vars = append(e.Vars, env...)
			e.Vars = append(e.Vars, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE="+shared, "AWS_EC2_METADATA_DISABLED=true",
				"SOURCE="+aws.Endpoint, "SOURCE_CA="+aws.CAFile)
			return os.WriteFile(shared, []byte(profiles), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": wantStatus, "user": makeUser, "broken": brokenEndpoint, "accounts": startAccounts},
	})
}

// startAccounts is the command `accounts LIST KUBECONFIG`: it starts an API
// server that has the service accounts of LIST, and writes a kubeconfig for it.
func startAccounts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: accounts LIST KUBECONFIG")
	}
	list := ts.ReadFile(args[0])
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/api/v1/serviceaccounts" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(list))
	}))
	ts.Defer(srv.Close)
	text := fmt.Sprintf(`{"current-context": "test", "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}]}`, srv.URL)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
