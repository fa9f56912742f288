// A producer in Go: its client is generated from the gateway's OpenAPI document.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"example.com/producer/tellwire"
)

func main() {
	if err := run(context.Background(), os.Getenv("TELLWIRE_URL"), os.Getenv("TELLWIRE_API_KEY"), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, key, user string) error {
	withKey := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+key)
		return nil
	}
	client, err := tellwire.NewClientWithResponses(
		url,
		tellwire.WithHTTPClient(&http.Client{Timeout: 10 * time.Second}),
		tellwire.WithRequestEditorFn(withKey),
	)
	if err != nil {
		return err
	}

	hello := tellwire.PublishRequest{Target: tellwire.Target{User: &user}}
	err = hello.Message.FromNotificationMessage(tellwire.NotificationMessage{
		Type: tellwire.NotificationMessageTypeNotification,
		Data: tellwire.Notification{Title: "Hello", Message: "From Go", Severity: tellwire.NotificationSeverityInfo},
	})
	if err != nil {
		return err
	}
	published, err := client.PublishWithResponse(ctx, hello)
	if err != nil {
		return err
	}
	if published.JSON200 == nil {
		return fmt.Errorf("refused: %s", published.Body)
	}
	fmt.Printf("delivered to %d\n", published.JSON200.Delivered)

	found, err := client.ListConnectionsWithResponse(ctx, &tellwire.ListConnectionsParams{User: user})
	if err != nil {
		return err
	}
	if found.JSON200 == nil {
		return fmt.Errorf("refused: %s", found.Body)
	}
	for _, each := range found.JSON200.Connections {
		fmt.Printf("connection of %s\n", each.UserId)
	}

	// A refusal has a code for programs, and a message for people.
	nobody := ""
	hello.Target.User = &nobody
	refused, err := client.PublishWithResponse(ctx, hello)
	if err != nil {
		return err
	}
	if refused.JSON400 != nil {
		fmt.Printf("refused: %d %s\n", refused.StatusCode(), refused.JSON400.Code)
	}
	return nil
}
