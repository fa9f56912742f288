// Package tellwire is the client of the gateway's HTTP API: client.gen.go is generated from its OpenAPI document.
package tellwire

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -package tellwire -generate types,client -o client.gen.go ../../../../spec/openapi.json
