# Copyright The podid Authors.
# SPDX-License-Identifier: Apache-2.0
#
# For those who build with an engine; `make images` needs none. One target for each binary:
#
#   docker build --target podid-agent -t registry.example/podid-agent:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --target podid …
#
# The stage that compiles runs on the builder's own platform: Go crosses over by itself.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH VERSION=0.0.0-dev COMMIT=unknown
ENV GOCACHE=/go/build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/ ./cmd/podid ./cmd/podid-agent ./cmd/podid-operator
# What an image holds beside its binary: public CAs, two users, /tmp. No shell, no package manager.
RUN mkdir -p /base/etc/ssl/certs /base/tmp && chmod 1777 /base/tmp && cp /etc/ssl/certs/ca-certificates.crt /base/etc/ssl/certs/ && \
    printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > /base/etc/passwd && \
    printf 'root:x:0:\nnonroot:x:65532:\n' > /base/etc/group

FROM scratch AS base
COPY --from=build /base/ /
ENV PATH=/ SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor="The podid Authors" \
      org.opencontainers.image.source=https://podid.dev

# Root, since it binds port 80 of the node; the chart drops every capability but that one.
FROM base AS podid-agent
COPY --from=build /out/podid-agent /podid-agent
USER 0:0
ENTRYPOINT ["/podid-agent"]

FROM base AS podid-operator
COPY --from=build /out/podid-operator /podid-operator
USER 65532:65532
ENTRYPOINT ["/podid-operator"]

FROM base AS podid
COPY --from=build /out/podid /podid
USER 65532:65532
ENTRYPOINT ["/podid"]
