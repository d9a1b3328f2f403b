package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// nginxConfig is a proxy with a cache. TLS is made to agree on the cipher that
// Go's servers choose, which is to its advantage. Keep-alive does not end.
const nginxConfig = `daemon off;
worker_processes auto;
%[1]s
pid %[2]s.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
	access_log %[2]s.log combined;
	client_body_temp_path %[2]s-body;
	proxy_temp_path %[2]s-proxy;
	fastcgi_temp_path %[2]s-fastcgi;
	uwsgi_temp_path %[2]s-uwsgi;
	scgi_temp_path %[2]s-scgi;
	sendfile on;
	tcp_nopush on;
	proxy_cache_path %[2]s-cache keys_zone=answers:10m max_size=8g inactive=12h use_temp_path=off;
	upstream registry { server %[3]s; keepalive 64; }
	server {
		listen %[4]s ssl;
		ssl_certificate %[5]s;
		ssl_certificate_key %[6]s;
		ssl_protocols TLSv1.3;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		keepalive_requests 1000000000;
		keepalive_timeout 1h;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		proxy_set_header Host $http_host;
%[7]s	}
}
`

// What an nginx does with the registry's answers: keep the manifests and pass
// the blobs without spooling them to the disk, which is to its advantage; or
// keep all. Everything that is not here is as it is built.
const (
	passBlobs = `		location / {
			proxy_pass https://registry;
			proxy_buffers 16 64k;
			proxy_buffer_size 64k;
			proxy_busy_buffers_size 128k;
			proxy_max_temp_file_size 0;
		}
		location ~ ^/v2/.+/manifests/ {
			proxy_pass https://registry;
			proxy_cache answers;
			proxy_cache_valid 200 12h;
		}
`
	keepAll = `		location / {
			proxy_pass https://registry;
			proxy_cache answers;
			proxy_cache_valid 200 12h;
			proxy_cache_lock on;
		}
`
)

func (l *lab) startNginx(ctx context.Context) error {
	c, err := l.openNginx(ctx, nginx, "nginx", passBlobs)
	if err == nil {
		l.contestants = append(l.contestants, c)
	}
	return err
}

// openNginx starts one with files of that name and with these locations.
func (l *lab) openNginx(ctx context.Context, name, files, locations string) (*contestant, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its own user may not enter the temporary directory
	}
	file, err := l.config(files+".conf", nginxConfig, user, filepath.Join(l.dir, files), strings.TrimPrefix(l.registry, "https://"), addr, l.cert, l.key, locations)
	if err != nil {
		return nil, err
	}
	return l.launch(ctx, name, files, addr, nil, "nginx", "-c", file)
}
