#!/usr/bin/env bash
# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# The textbook by AWS CLI alone: role, policy, association, tags, exchange, refusals, and all of it away again.
# Wants the environment that run.sh makes; stops at the first thing that is not as it should be.
set -euo pipefail
export AWS_PAGER="" AWS_MAX_ATTEMPTS=1

suffix=$$-$RANDOM
role=cli-$suffix
namespace=cli-$suffix
account=$(aws sts get-caller-identity --query Account --output text)
cluster_arn=arn:aws:eks:$AWS_REGION:$account:cluster/$PODID_CLUSTER
policy=arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess

# equal WHAT GOT WANT
equal() {
  [ "$2" = "$3" ] || { printf 'not ok: %s: got %q, want %q\n' "$1" "$2" "$3" >&2; exit 1; }
  printf 'ok: %s\n' "$1"
}

# refused WHAT PATTERN COMMAND...: COMMAND fails and its error matches PATTERN.
refused() {
  local what=$1 pattern=$2 out
  shift 2
  if out=$("$@" 2>&1); then printf 'not ok: %s: was not refused\n' "$what" >&2; exit 1; fi
  grep -q -E -e "$pattern" <<<"$out" || { printf 'not ok: %s: %s\n' "$what" "$out" >&2; exit 1; }
  printf 'ok: %s\n' "$what"
}

trust() {
  cat <<JSON
{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
"Action":["sts:AssumeRole","sts:TagSession"],
"Condition":{"StringEquals":{"aws:SourceAccount":"$account"},"ArnEquals":{"aws:SourceArn":"$cluster_arn"}}}]}
JSON
}

arn=$(aws iam create-role --role-name "$role" --assume-role-policy-document "$(trust)" --query Role.Arn --output text)
equal "create-role" "$arn" "arn:aws:iam::$account:role/$role"
aws iam attach-role-policy --role-name "$role" --policy-arn "$policy"
equal "list-attached-role-policies" \
  "$(aws iam list-attached-role-policies --role-name "$role" --query 'AttachedPolicies[].PolicyArn' --output text)" "$policy"
equal "get-role decodes the trust policy" \
  "$(aws iam get-role --role-name "$role" --query 'Role.AssumeRolePolicyDocument.Statement[0].Principal.Service' --output text)" \
  pods.eks.amazonaws.com

associate=(aws eks create-pod-identity-association --cluster-name "$PODID_CLUSTER" --namespace "$namespace" --service-account app --role-arn "$arn")
read -r id association < <("${associate[@]}" --tags team=data --query 'association.[associationId,associationArn]' --output text)
equal "create-pod-identity-association" "$association" "arn:aws:eks:$AWS_REGION:$account:podidentityassociation/$PODID_CLUSTER/$id"
refused "a duplicate names the first" "ResourceInUseException.*Association already exists: $id" "${associate[@]}"

one=(--cluster-name "$PODID_CLUSTER" --association-id "$id")
equal "describe" "$(aws eks describe-pod-identity-association "${one[@]}" --query association.roleArn --output text)" "$arn"
equal "list by namespace" "$(aws eks list-pod-identity-associations --cluster-name "$PODID_CLUSTER" --namespace "$namespace" \
  --query 'associations[].associationId' --output text)" "$id"
aws eks tag-resource --resource-arn "$association" --tags owner=me
aws eks untag-resource --resource-arn "$association" --tag-keys team
equal "tags by ARN" "$(aws eks list-tags-for-resource --resource-arn "$association" --query tags --output text)" me
refused "an unknown association" ResourceNotFoundException \
  aws eks describe-pod-identity-association --cluster-name "$PODID_CLUSTER" --association-id a-zzzzzzzzzzzzzzzzz
refused "an unknown cluster" "No cluster found for name: nope" aws eks describe-cluster --name nope
refused "an unknown role" NoSuchEntity aws iam get-role --role-name "$role-none"
refused "a role for pods only" AccessDenied aws sts assume-role --role-arn "$arn" --role-session-name refused

as_pod=("$PODID" exec --cluster "$PODID_CLUSTER" --namespace "$namespace" --service-account-name app --)
identity=$("${as_pod[@]}" aws sts get-caller-identity --query Arn --output text)
equal "a pod is its role" "${identity%/*}" "arn:aws:sts::$account:assumed-role/$role"
grep -q -E "^eks-${PODID_CLUSTER:0:10}-.{1,10}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\$" <<<"${identity##*/}" ||
  { echo "not ok: a pod's session is named ${identity##*/}" >&2; exit 1; }
echo "ok: a pod's session is named as EKS names it"
refused "a pod may not manage" "AccessDenied" "${as_pod[@]}" aws eks list-clusters

token=$("${as_pod[@]}" sh -c 'cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"')
equal "assume-role-for-pod-identity" "$(aws eks-auth assume-role-for-pod-identity --cluster-name "$PODID_CLUSTER" --token "$token" \
  --query 'podIdentityAssociation.associationId' --output text)" "$id"
refused "a token with another signature" InvalidTokenException \
  aws eks-auth assume-role-for-pod-identity --cluster-name "$PODID_CLUSTER" --token "${token%.*}.AAAA"

equal "delete" "$(aws eks delete-pod-identity-association "${one[@]}" --query association.associationId --output text)" "$id"
refused "a deleted association" ResourceNotFoundException aws eks delete-pod-identity-association "${one[@]}"
aws iam detach-role-policy --role-name "$role" --policy-arn "$policy"
aws iam delete-role --role-name "$role"
echo "ok: AWS CLI"
