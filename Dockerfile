# Sealgate's image: one static binary on an empty system, for any platform:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.2.3 .
#
# It needs BuildKit. The images that are released come from "make release", which
# is the same to the last bit wherever it runs; this file is for who builds their
# own. GO_IMAGE is pinned by version; pin its digest where you mirror it.
ARG GO_IMAGE=golang:1.26.8-bookworm

# The compiler runs on the builder's platform and writes for the target's.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
	CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS= \
	go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/usr/bin/sealgate ./cmd/sealgate
RUN mkdir -p -m 0755 /out/etc/sealgate /out/etc/ssl/certs && \
	cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ && \
	echo 'sealgate:x:65532:65532:Sealgate:/var/lib/sealgate:/' >/out/etc/passwd && \
	echo 'sealgate:x:65532:' >/out/etc/group && \
	mkdir -p -m 0700 /state

FROM scratch
COPY --from=build /out /
# What a volume that is mounted here is given to, where Docker makes it.
COPY --from=build --chown=65532:65532 /state /var/lib/sealgate
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Sealgate" \
	org.opencontainers.image.description="A registry proxy that makes unsigned tags invisible" \
	org.opencontainers.image.source="https://github.com/sealgate/sealgate" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
VOLUME /var/lib/sealgate
# Clients, and the operator (admin.listen), where proxy.yaml says so: it has to
# listen on 0.0.0.0 or [::] to be reached from outside the container.
EXPOSE 8443 8444
ENTRYPOINT ["/usr/bin/sealgate"]
CMD ["serve", "--config", "/etc/sealgate/proxy.yaml"]
# No HEALTHCHECK: it would have to be a program in the image, and there is none but
# Sealgate. Whoever runs the container asks /readyz on admin.listen.
