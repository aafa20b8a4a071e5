#include "benchmarks/load_report.h"

#include <inttypes.h>
#include <stdio.h>

/* CPU use of the load from which the load, not the server, may limit the result. */
static const double busy_percent = 95;

static const struct {
    const char *text, *json;
    double quantile;
} quantiles[] = {
    { "p50", "p50", 0.5 },      { "p90", "p90", 0.9 }, { "p99", "p99", 0.99 },
    { "p99.9", "p999", 0.999 }, { "max", "max", 1 },
};
enum { QUANTILES = sizeof(quantiles) / sizeof(quantiles[0]) };

static double over(double value, double divisor)
{
    return divisor > 0 ? value / divisor : 0;
}

static double server_cpu_seconds(const struct load_result *result)
{
    return (double)(result->server_end.cpu_ns - result->server_begin.cpu_ns) / 1e9;
}

static double rate_of(const struct load_result *result, uint64_t count)
{
    return over((double)count, result->seconds);
}

static double us_per_message(const struct load_result *result, double cpu_seconds)
{
    return over(cpu_seconds * 1e6, (double)result->counts.messages);
}

static double percent_of_core(const struct load_result *result, double cpu_seconds)
{
    return over(cpu_seconds * 100, result->seconds);
}

static double latency_us(const struct load_result *result, unsigned quantile)
{
    return (double)histogram_quantile(&result->latency, quantiles[quantile].quantile) / 1000;
}

static double server_bytes_per_connection(const struct load_result *result)
{
    return over((double)result->server_bytes_idle - (double)result->server_bytes_before,
                (double)result->idle_connections);
}

bool load_result_is_good(const struct load_result *result)
{
    return result->counts.verify_errors == 0 && result->counts.connect_errors == 0 && result->counts.io_errors == 0 &&
           (result->end == LOAD_COMPLETE || result->end == LOAD_INTERRUPTED);
}

static void print_options(const struct load_options *options)
{
    const struct message_format *format = &options->format;

    printf("%s, %u connection%s, ", load_mode_name(options->mode), options->connections,
           options->connections == 1 ? "" : "s");
    if (options->mode == LOAD_PIPELINE)
        printf("depth %u, ", options->depth);
    if (options->rate > 0)
        printf("%.10g messages/s, ", options->rate);
    printf("%" PRIu32, format->min_bytes);
    if (format->max_bytes > format->min_bytes)
        printf("-%" PRIu32, format->max_bytes);
    if (format->header_bytes > 0)
        printf(" + %" PRIu32, format->header_bytes);
    printf(" bytes, to %s\n", options->server_text);
}

static void print_traffic(const struct load_result *result)
{
    const struct load_counts *counts = &result->counts;

    printf("  messages     %14.0f /s   %" PRIu64 " in %.2f s\n", rate_of(result, counts->messages), counts->messages,
           result->seconds);
    printf("  replies      %14.2f MB/s\n", rate_of(result, counts->bytes_received) / 1e6);
    if (result->options->mode == LOAD_STREAM) {
        printf("  sent         %14.2f MB/s\n", rate_of(result, counts->bytes_sent) / 1e6);
        return;
    }
    printf("  latency, us ");
    for (unsigned i = 0; i < QUANTILES; i++)
        printf("  %s %.1f", quantiles[i].text, latency_us(result, i));
    printf("\n");
}

static void print_cpu(const char *whose, const struct load_result *result, double cpu_seconds)
{
    printf("  %-6s CPU   %14.1f %% of a core", whose, percent_of_core(result, cpu_seconds));
    if (result->counts.messages > 0)
        printf("   %.3f us per message", us_per_message(result, cpu_seconds));
    printf("\n");
}

static void print_warnings(const struct load_result *result)
{
    const struct load_options *options = result->options;
    double busy = percent_of_core(result, result->cpu_seconds) / options->threads;
    double rate = rate_of(result, result->counts.messages);

    if (busy >= busy_percent && !options->spin)
        printf(
            "  warning: the load generator used %.0f %% of its cores; it may limit the result instead of the server\n",
            busy);
    if (options->rate > 0 && options->messages == 0 && rate < 0.99 * options->rate)
        printf("  warning: only %.0f of the requested %.10g messages/s were answered\n", rate, options->rate);
}

static void print_idle(const struct load_result *result)
{
    printf("  open         %14" PRIu64 " connections\n", result->idle_connections);
    if (result->options->server_pid > 0)
        printf("  server       %14.0f bytes of anonymous memory per connection (%" PRIu64 " KiB before, %" PRIu64
               " KiB with them)\n",
               server_bytes_per_connection(result), result->server_bytes_before / 1024,
               result->server_bytes_idle / 1024);
}

void load_report_print(const struct load_result *result)
{
    print_options(result->options);
    if (result->options->mode == LOAD_IDLE) {
        print_idle(result);
    } else {
        print_traffic(result);
        print_cpu("load", result, result->cpu_seconds);
        if (result->options->server_pid > 0)
            print_cpu("server", result, server_cpu_seconds(result));
    }
    printf("  errors       %14" PRIu64 " wrong replies, %" PRIu64 " failed connects, %" PRIu64 " lost connections\n",
           result->counts.verify_errors, result->counts.connect_errors, result->counts.io_errors);
    if (result->options->mode != LOAD_IDLE)
        print_warnings(result);
}

/* Escapes as JSON requires: the server's endpoint is the only string that comes from the command line. */
static void print_json_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void print_json_options(const struct load_options *options)
{
    static const char *const verify[] = { "all", "sample", "off" };

    printf("\"server\": ");
    print_json_string(options->server_text);
    printf(", \"mode\": \"%s\", \"connections\": %u, \"threads\": %u, \"depth\": %u", load_mode_name(options->mode),
           options->connections, options->threads, options->depth);
    printf(", \"size\": %" PRIu32 ", \"size_min\": %" PRIu32 ", \"header_bytes\": %" PRIu32 ", \"verify\": \"%s\"",
           options->format.max_bytes, options->format.min_bytes, options->format.header_bytes,
           verify[options->format.verify]);
    printf(", \"rate\": %.3f, \"spin\": %s", options->rate, options->spin ? "true" : "false");
}

static void print_json_latency(const struct load_result *result)
{
    printf(", \"latency_us\": {");
    for (unsigned i = 0; i < QUANTILES; i++)
        printf("%s\"%s\": %.3f", i > 0 ? ", " : "", quantiles[i].json, latency_us(result, i));
    printf(", \"mean\": %.3f, \"count\": %" PRIu64 "}", histogram_mean(&result->latency) / 1000, result->latency.count);
}

static void print_json_server(const struct load_result *result)
{
    if (result->options->mode != LOAD_IDLE) {
        printf(", \"server_cpu_seconds\": %.6f, \"server_cpu_percent\": %.3f, \"server_cpu_us_per_message\": %.6f",
               server_cpu_seconds(result), percent_of_core(result, server_cpu_seconds(result)),
               us_per_message(result, server_cpu_seconds(result)));
        server_usage_print_json(&result->server_begin, &result->server_end, result->options->call_counts != NULL);
        return;
    }
    printf(", \"server_anonymous_bytes_before\": %" PRIu64 ", \"server_anonymous_bytes_held\": %" PRIu64
           ", \"server_anonymous_bytes_per_connection\": %.3f",
           result->server_bytes_before, result->server_bytes_idle, server_bytes_per_connection(result));
}

void load_report_print_json(const struct load_result *result)
{
    static const char *const ends[] = { "complete", "interrupted", "stalled", "all lost" };
    const struct load_counts *counts = &result->counts;

    printf("{");
    print_json_options(result->options);
    printf(", \"end\": \"%s\", \"seconds\": %.6f, \"messages\": %" PRIu64 ", \"messages_per_second\": %.3f",
           ends[result->end], result->seconds, counts->messages, rate_of(result, counts->messages));
    printf(", \"bytes_per_second\": %.3f, \"sent_bytes_per_second\": %.3f", rate_of(result, counts->bytes_received),
           rate_of(result, counts->bytes_sent));
    if (result->options->mode == LOAD_IDLE)
        printf(", \"held\": %" PRIu64, result->idle_connections);
    else if (result->options->mode != LOAD_STREAM)
        print_json_latency(result);
    printf(", \"verify_errors\": %" PRIu64 ", \"connect_errors\": %" PRIu64 ", \"io_errors\": %" PRIu64,
           counts->verify_errors, counts->connect_errors, counts->io_errors);
    printf(", \"cpu_percent\": %.3f, \"cpu_us_per_message\": %.6f", percent_of_core(result, result->cpu_seconds),
           us_per_message(result, result->cpu_seconds));
    if (result->options->server_pid > 0)
        print_json_server(result);
    printf("}\n");
}
