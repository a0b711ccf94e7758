// Go, net/http with its default transport. `install` of this folder compiles it.
//
// Nothing is lost: 4xx and 5xx are no errors. In clear it speaks HTTP/1.1, over TLS HTTP/2. It has no base URL and no
// tokens of its own. It trusts SSL_CERT_FILE, which the test sets.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var errNoPager = errors.New("no pager")

func main() {
	client := &http.Client{Timeout: time.Minute}
	if os.Getenv("PROTOCOL") == "http1" {
		// The documented way not to speak HTTP/2 over TLS.
		transport := http.DefaultTransport.(*http.Transport)
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		times, _ := strconv.Atoi(fields[0])
		var group sync.WaitGroup
		var mutex sync.Mutex
		for number := 0; number < times; number++ {
			group.Add(1)
			go func() {
				defer group.Done()
				answer, err := send(client, fields[1], fields[2], fields[3], fields[4])
				if err != nil {
					answer = "ERROR\t" + encode([]byte(text(err)))
				}
				mutex.Lock()
				defer mutex.Unlock()
				fmt.Println(answer)
			}()
		}
		group.Wait()
	}
}

func send(client *http.Client, method, url, headers, body string) (string, error) {
	if method == "WALK" {
		return "", errNoPager
	}
	var content io.Reader
	if body != "-" {
		content = bytes.NewReader(decode(body))
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		return "", err
	}
	if token := os.Getenv("TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(string(decode(headers)), "\n") {
		name, value, found := strings.Cut(line, ": ")
		if !found {
			continue
		}
		// The first of a name replaces the token.
		if name = http.CanonicalHeaderKey(name); !seen[name] {
			request.Header.Del(name)
		}
		seen[name] = true
		request.Header.Add(name, value)
		if name == "Host" {
			// Go ignores it among the headers.
			request.Host = value
		}
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	received, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for name, values := range answer.Header {
		for _, value := range values {
			fmt.Fprintf(&lines, "%s: %s\n", strings.ToLower(name), value)
		}
	}
	return fmt.Sprintf("%d\t%s\t%s", answer.StatusCode, encode([]byte(lines.String())), orNone(encode(received))), nil
}

func text(err error) string {
	if err == errNoPager {
		return err.Error()
	}
	return fmt.Sprintf("%T %v", err, err)
}

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func encode(data []byte) string {
	return base64.StdEncoding.EncodeToString(data)
}

func decode(text string) []byte {
	data, _ := base64.StdEncoding.DecodeString(text)
	return data
}
