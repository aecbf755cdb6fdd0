// dtm's own Go client, of the module proxy and unmodified, against our coordinator: two-phase messages, the Redis
// barrier, the query-back, topics, abort. Prints one line a course, "ok <name>" or "FAILED <name>: <why>"; exits 1 if
// any failed.
//
//	dtm-client <coordinator>/api/dtmsvr <redis host:port>
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/go-redis/redis/v8"
)

var (
	coordinator string
	services    string
	store       *redis.Client
	mutex       sync.Mutex
	calls       = map[string][]string{} // gid -> "path body"
)

func serve(writer http.ResponseWriter, request *http.Request) {
	query := request.URL.Query()
	body, _ := io.ReadAll(request.Body)
	mutex.Lock()
	calls[query.Get("gid")] = append(calls[query.Get("gid")], request.URL.Path+" "+string(body))
	mutex.Unlock()
	if request.URL.Path != "/query" {
		return
	}
	barrier, err := dtmcli.BarrierFromQuery(query)
	if err == nil {
		err = barrier.RedisQueryPrepared(store, 3600)
	}
	status, result := dtmcli.Result2HttpJSON(err)
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(result)
}

func state(gid string) string {
	response, err := http.Get(coordinator + "/query?gid=" + url.QueryEscape(gid))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var found struct {
		Transaction *struct {
			Status string `json:"status"`
		} `json:"transaction"`
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return err.Error()
	}
	if found.Transaction == nil {
		return "none"
	}
	return found.Transaction.Status
}

func becomes(gid string, wanted string) error {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if state(gid) == wanted {
			return nil
		}
	}
	return fmt.Errorf("message is %s, not %s", state(gid), wanted)
}

func called(gid string, wanted ...string) error {
	mutex.Lock()
	defer mutex.Unlock()
	if fmt.Sprint(calls[gid]) != fmt.Sprint(wanted) {
		return fmt.Errorf("called %q, not %q", calls[gid], wanted)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func want(got error, wanted error) error {
	if got == nil && wanted == nil || wanted != nil && errors.Is(got, wanted) {
		return nil
	}
	return fmt.Errorf("got error %v, wanted %v", got, wanted)
}

func stockIs(key string, wanted string) error {
	if got := store.Get(context.Background(), key).Val(); got != wanted {
		return fmt.Errorf("stock is %s, not %s", got, wanted)
	}
	return nil
}

func message(gid string) *dtmcli.Msg {
	return dtmcli.NewMsg(coordinator, gid).Add(services+"/branch", map[string]int{"units": 1})
}

func deduct(key string) func(*dtmcli.BranchBarrier) error {
	return func(barrier *dtmcli.BranchBarrier) error { return barrier.RedisCheckAdjustAmount(store, key, -1, 3600) }
}

const branch = `/branch {"units":1}`

var courses = []struct {
	name string
	run  func(gid string) error
}{
	{"a plain message is delivered", func(gid string) error {
		return first(message(gid).Submit(), becomes(gid, "succeed"), called(gid, branch))
	}},
	{"wait_result answers after the delivery", func(gid string) error {
		waited := message(gid)
		waited.WaitResult = true
		return first(waited.Submit(), called(gid, branch))
	}},
	{"prepare, then submit", func(gid string) error {
		prepared := message(gid)
		prepared.TimeoutToFail = 600
		return first(prepared.Prepare(services+"/query"), becomes(gid, "prepared"), prepared.Submit(), becomes(gid, "succeed"), called(gid, branch))
	}},
	{"a delay holds the delivery back", func(gid string) error {
		began := time.Now()
		err := first(message(gid).SetDelay(1).Submit(), becomes(gid, "succeed"))
		if err == nil && time.Since(began) < time.Second {
			return errors.New("delivered too early")
		}
		return err
	}},
	{"DoAndSubmit takes a unit and delivers", func(gid string) error {
		store.Set(context.Background(), "stock-"+gid, 1, 0)
		return first(message(gid).DoAndSubmit(services+"/query", deduct("stock-"+gid)), becomes(gid, "succeed"), called(gid, branch), stockIs("stock-"+gid, "0"))
	}},
	{"DoAndSubmit without stock aborts", func(gid string) error {
		store.Set(context.Background(), "stock-"+gid, 0, 0)
		err := message(gid).DoAndSubmit(services+"/query", deduct("stock-"+gid))
		return first(want(err, dtmcli.ErrFailure), becomes(gid, "failed"), called(gid))
	}},
	{"a query-back after the step submits", func(gid string) error {
		store.Set(context.Background(), "stock-"+gid, 1, 0)
		barrier, err := dtmcli.BarrierFrom("msg", gid, "00", "msg")
		return first(err, message(gid).Prepare(services+"/query"), deduct("stock-"+gid)(barrier), becomes(gid, "succeed"), called(gid, "/query ", branch))
	}},
	{"a query-back before the step fails the message and bars the step", func(gid string) error {
		store.Set(context.Background(), "stock-"+gid, 1, 0)
		late, err := dtmcli.BarrierFrom("msg", gid, "00", "msg")
		return first(err, message(gid).Prepare(services+"/query"), becomes(gid, "failed"), want(deduct("stock-"+gid)(late), dtmcli.ErrDuplicated), stockIs("stock-"+gid, "1"), called(gid, "/query "))
	}},
	{"a topic reaches its subscribers", func(gid string) error {
		for _, path := range []string{"/a", "/b"} {
			response, err := http.Get(coordinator + "/subscribe?topic=" + gid + "&url=" + url.QueryEscape(services+path))
			if err != nil || response.StatusCode != 200 {
				return fmt.Errorf("subscribe: %v %v", response, err)
			}
		}
		return first(dtmcli.NewMsg(coordinator, gid).AddTopic(gid, 7).Submit(), becomes(gid, "succeed"), called(gid, "/a 7", "/b 7"))
	}},
	{"the server makes gids", func(string) error {
		made := dtmcli.MustGenGid(coordinator)
		if made == "" || made == dtmcli.MustGenGid(coordinator) {
			return errors.New("not unique")
		}
		return nil
	}},
	{"a prepare after the end is an error for the client", func(gid string) error {
		err := first(message(gid).Submit(), becomes(gid, "succeed"))
		if err == nil && message(gid).Prepare(services+"/query") == nil {
			return errors.New("no error")
		}
		return err
	}},
}

func main() {
	coordinator = os.Args[1]
	store = redis.NewClient(&redis.Options{Addr: os.Args[2]})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	services = "http://" + listener.Addr().String()
	go func() { _ = http.Serve(listener, http.HandlerFunc(serve)) }()
	failed := false
	for i, course := range courses {
		if err := course.run(fmt.Sprintf("go-%d-%d", os.Getpid(), i)); err != nil {
			failed = true
			fmt.Printf("FAILED %s: %v\n", course.name, err)
			continue
		}
		fmt.Printf("ok %s\n", course.name)
	}
	if failed {
		os.Exit(1)
	}
}
