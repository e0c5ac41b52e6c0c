// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// driverCommand makes this program the driver of the SDK for Go: a process of its own, so that its environment is a pod's.
const driverCommand = "driver"

// serveDriver answers requests, one a line, until there are no more.
func serveDriver(ctx context.Context, in io.Reader, out io.Writer) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	enc := json.NewEncoder(out)
	for sc.Scan() {
		var r request
		if err := decode(sc.Bytes(), &r); err != nil {
			return err
		}
		var answer reply
		output, err := goCall(ctx, r)
		if err != nil {
			answer.Error = goRefusal(err)
		} else {
			answer.Output = output
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
	}
	return sc.Err()
}

// goCall makes one call with a configuration that the SDK loads anew from the environment.
func goCall(ctx context.Context, r request) (M, error) {
	var options []func(*config.LoadOptions) error
	if r.Attempts > 0 {
		options = append(options, config.WithRetryMaxAttempts(r.Attempts))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if r.Service == "credentials" {
		var c aws.Credentials
		for range times(r.Input) {
			if c, err = cfg.Credentials.Retrieve(ctx); err != nil {
				return nil, err
			}
		}
		return M{"accessKeyId": c.AccessKeyID, "accountId": c.AccountID, "expiration": c.Expires, "source": c.Source}, nil
	}
	client, ok := map[string]any{
		"cloudformation": cloudformation.NewFromConfig(cfg), "eks": eks.NewFromConfig(cfg), "iam": iam.NewFromConfig(cfg), "sts": sts.NewFromConfig(cfg),
	}[r.Service]
	if !ok {
		return nil, &refusal{Code: lacking, Message: "the SDK for Go publishes no client of " + r.Service}
	}
	if r.Paginate {
		return goPages(ctx, client, r)
	}
	return invoke(ctx, client, r)
}

// times is how often the chain is asked, once where nothing is said.
func times(input M) int {
	n, _ := input["times"].(float64)
	return max(1, int(n))
}

// invoke calls the client's method of the operation's name. Members of the model and fields of the SDK differ in case only,
// which encoding/json forgives.
func invoke(ctx context.Context, client any, r request) (M, error) {
	method := reflect.ValueOf(client).MethodByName(r.Operation)
	if !method.IsValid() {
		return nil, &refusal{Code: lacking, Message: "the client has no " + r.Operation}
	}
	input := reflect.New(method.Type().In(1).Elem())
	if err := convert(r.Input, input.Interface()); err != nil {
		return nil, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), input})
	if err, _ := results[1].Interface().(error); err != nil {
		return nil, err
	}
	var out M
	err := convert(results[0].Interface(), &out)
	return out, err
}

// convert goes by way of JSON.
func convert(from, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return decode(text, into)
}

// goPages reads all pages with the SDK's paginator of the operation.
func goPages(ctx context.Context, client any, r request) (M, error) {
	switch c := client.(type) {
	case *eks.Client:
		switch r.Operation {
		case "ListPodIdentityAssociations":
			var in eks.ListPodIdentityAssociationsInput
			if err := convert(r.Input, &in); err != nil {
				return nil, err
			}
			p := eks.NewListPodIdentityAssociationsPaginator(c, &in)
			return collect(p.HasMorePages, func() (any, error) { return p.NextPage(ctx) })
		case "ListClusters":
			var in eks.ListClustersInput
			if err := convert(r.Input, &in); err != nil {
				return nil, err
			}
			p := eks.NewListClustersPaginator(c, &in)
			return collect(p.HasMorePages, func() (any, error) { return p.NextPage(ctx) })
		}
	case *iam.Client:
		if r.Operation == "ListRolePolicies" {
			var in iam.ListRolePoliciesInput
			if err := convert(r.Input, &in); err != nil {
				return nil, err
			}
			p := iam.NewListRolePoliciesPaginator(c, &in)
			return collect(p.HasMorePages, func() (any, error) { return p.NextPage(ctx) })
		}
	}
	return nil, fmt.Errorf("the driver has no paginator of %s", r.Operation)
}

func collect(more func() bool, next func() (any, error)) (M, error) {
	pages := []any{}
	for more() {
		page, err := next()
		if err != nil {
			return nil, err
		}
		var out M
		if err := convert(page, &out); err != nil {
			return nil, err
		}
		pages = append(pages, out)
	}
	return M{"pages": pages}, nil
}

// goRefusal says of an error what callers of the SDK see of it.
func goRefusal(err error) *refusal {
	if known := (*refusal)(nil); errors.As(err, &known) {
		return known
	}
	out := &refusal{Code: "ClientError", Message: err.Error()}
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		out.Status = answer.HTTPStatusCode()
	}
	if api := smithy.APIError(nil); errors.As(err, &api) {
		out.Code, out.Message = api.ErrorCode(), api.ErrorMessage()
		if name := fmt.Sprintf("%T", api); !strings.HasSuffix(name, ".GenericAPIError") {
			out.Typed = strings.TrimPrefix(name, "*types.")
		}
		// What a chain of credentials says reaches callers in the whole text only.
		if !strings.Contains(err.Error(), out.Message) || strings.Contains(err.Error(), "get credentials") {
			out.Message = err.Error()
		}
	}
	return out
}
