// The peer of bench/messages.ts: dtm's own server, of the Go module proxy and unmodified, with its Redis store, beside
// the flash-sale handler of dtm's own benchmark (bench/svr of its repository: one message a request, gid
// "{a}-<random>", an empty branch, RedisCheckAdjustAmount by dtm's own Go client).
//
// Environment: dtm's own (STORE_DRIVER=redis, STORE_HOST, STORE_PORT, HTTP_PORT, GRPC_PORT, JSON_RPC_PORT, LOG_LEVEL),
// and PEER_PORT, the port of the handler, PEER_REDIS, host:port of the stock, PEER_CLIENT: "shipped" leaves dtm's client
// as it is, "tuned" lets it keep its connections.
//
//	POST /buy           the handler; 200 a unit taken, 409 none left
//	POST /stock?units=N sets the stock
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/dtm/dtmsvr/entry"
	_ "github.com/dtm-labs/dtm/dtmsvr/microservices"
	"github.com/gin-gonic/gin"
	"github.com/go-redis/redis/v8"
	"github.com/lithammer/shortuuid/v3"
)

const (
	stockKey = "{a}--stock"
	// As many as the bench has requests on their way, and some.
	connections = 256
)

func main() {
	version := "peer"
	if app, _ := entry.Main(&version); app == nil {
		os.Exit(1)
	}
	coordinator := fmt.Sprintf("http://127.0.0.1:%s/api/dtmsvr", os.Getenv("HTTP_PORT"))
	// Its client keeps as many idle connections as there are cores, and one: for a crowd it opens new ones all the time.
	if os.Getenv("PEER_CLIENT") == "tuned" {
		dtmcli.GetRestyClient().SetTransport(&http.Transport{MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute})
	}
	stock := redis.NewClient(&redis.Options{Addr: os.Getenv("PEER_REDIS"), PoolSize: connections})
	gin.SetMode(gin.ReleaseMode)
	app := gin.New()
	app.POST("/stock", func(c *gin.Context) {
		units, err := strconv.Atoi(c.Query("units"))
		if err == nil {
			err = stock.Set(c, stockKey, units, 0).Err()
		}
		if err != nil {
			c.String(http.StatusInternalServerError, err.Error())
			return
		}
		c.Status(http.StatusOK)
	})
	app.POST("/buy", func(c *gin.Context) {
		message := dtmcli.NewMsg(coordinator, "{a}-"+shortuuid.New()).Add("", nil)
		err := message.DoAndSubmit("", func(barrier *dtmcli.BranchBarrier) error {
			return barrier.RedisCheckAdjustAmount(stock, stockKey, -1, 86400)
		})
		switch {
		case err == nil:
			c.JSON(http.StatusOK, gin.H{"dtm_result": "SUCCESS"})
		case errors.Is(err, dtmcli.ErrFailure):
			c.JSON(http.StatusConflict, gin.H{"dtm_result": "FAILURE"})
		default:
			c.JSON(http.StatusInternalServerError, gin.H{"message": err.Error()})
		}
	})
	if err := app.Run("127.0.0.1:" + os.Getenv("PEER_PORT")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
