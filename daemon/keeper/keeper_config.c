/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/keeper_config.h"

#include <string.h>
#include <unistd.h>

#include "daemon/changed.h"
#include "daemon/command_line.h"
#include "daemon/config_kept.h"
#include "daemon/log.h"

static void fd_drop(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* servers have their own */
        *fd = -1;
    }
}

/* NOLINTBEGIN(readability-non-const-parameter): it is replaced when another is accepted */
void keeper_config_init(struct keeper_config *config, struct options *options, char **argv,
                        int *config_fd)
{
    *config = (struct keeper_config){
        .options = options,
        .argv = argv,
        .config_fd = config_fd,
        .read_fd = -1,
        .former_fd = -1,
    };
    while (argv[config->argc]) {
        config->argc++;
    }
}
/* NOLINTEND(readability-non-const-parameter) */

/* What the files say now, and what waits as it is. Return: a memfd or a negative errno. */
static int config_read_anew(const struct keeper_config *config, struct complaints *complaints)
{
    struct config in_force = {.n_files = 0};
    struct config fresh = {.n_files = 0};
    command_line_read_files(&fresh, config->argc, config->argv, complaints);
    int r = config_kept_read(*config->config_fd, &in_force);
    r = r ? r : config_kept_renew(&fresh, &in_force);
    r = r ? r : config_kept_open(&fresh, config->options->name);
    config_fini(&in_force);
    config_fini(&fresh);
    return r;
}

bool keeper_config_read(struct keeper_config *config)
{
    struct complaints complaints = {.say = command_line_log};
    keeper_config_drop(config);
    const int fd = config_read_anew(config, &complaints);
    if (fd < 0) {
        log_error("SIGHUP: the configuration can not be read anew: %s; nothing is changed",
                  strerror(-fd));
        return false;
    }
    config->read_fd = fd;
    if (complaints.n > 0) {
        log_error("SIGHUP: the configuration can not be read anew; nothing is changed");
        keeper_config_drop(config);
    }
    return complaints.n == 0;
}

void keeper_config_drop(struct keeper_config *config)
{
    fd_drop(&config->read_fd);
}

void keeper_config_offer(struct keeper_config *config)
{
    config->former_fd = *config->config_fd;
    *config->config_fd = config->read_fd;
    config->read_fd = -1;
}

/* What concerns the keeper itself. A program of another version may know more than this one. */
static void keeper_config_learn(struct keeper_config *config, bool is_said)
{
    struct config in_force = {.n_files = 0};
    struct options options;
    struct options wanted;
    struct complaints complaints = {.n = 0};
    if (config_kept_read(*config->config_fd, &in_force)) {
        log_warning("the configuration can not be looked at: the keeper goes on with the former");
        config_fini(&in_force);
        return;
    }
    command_line_read(&options, config->argc, config->argv, &in_force, NULL, &complaints);
    if (is_said && complaints.n == 0) {
        in_force.fixed[0] = '\0'; /* what would be, if nothing had to wait */
        command_line_read(&wanted, config->argc, config->argv, &in_force, NULL, &complaints);
        (void)changed_settings(config->options, &wanted, changed_log, NULL);
    }
    if (complaints.n == 0) {
        options.segment_bytes = config->options->segment_bytes;
        options.waiting_bytes = config->options->waiting_bytes;
        options.most_bytes = config->options->most_bytes;
        *config->options = options;
        log_set_level(options.log_level);
    } else {
        log_warning("the configuration has what this keeper does not know: its own settings, the "
                    "watchdog and the log's level, stay as they were until a restart");
    }
    config_fini(&in_force);
}

void keeper_config_keep(struct keeper_config *config)
{
    fd_drop(&config->former_fd);
    keeper_config_learn(config, true);
}

void keeper_config_undo(struct keeper_config *config)
{
    fd_drop(config->config_fd);
    *config->config_fd = config->former_fd;
    config->former_fd = -1;
}

void keeper_config_accept(struct keeper_config *config, int fd)
{
    fd_drop(config->config_fd);
    *config->config_fd = fd;
    keeper_config_learn(config, false);
}
