// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command s3app is a sample pod: a program that knows nothing of podid. It
// takes its credentials from the AWS SDK's default chain, as any program in a
// pod does, and prints whom they stand for. It owns no configuration.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "s3app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	id, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return err
	}
	cred, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(map[string]any{
		"arn": *id.Arn, "account": *id.Account, "userId": *id.UserId, "accessKeyId": cred.AccessKeyID,
		"source": cred.Source, "expires": cred.Expires.UTC(),
	})
}
