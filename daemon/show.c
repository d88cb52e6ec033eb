/* SPDX-License-Identifier: MIT */
#include "daemon/show.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/backing.h"
#include "daemon/command_line.h"
#include "daemon/config_print.h"

static void show_files(const struct config *config, const struct options *options)
{
    bool is_any = false;
    for (uint32_t i = 0; i < config->n_files; i++) {
        if (strcmp(config->files[i].path, CONFIG_DEFAULT) != 0) {
            (void)printf("kmemd: ok: %s\n", config->files[i].path); /* the stream remembers */
            is_any = true;
        }
    }
    if (!is_any) {
        char directory[PATH_MAX];
        (void)printf("kmemd: ok: there is no configuration file for segment \"%s\" in %s\n",
                     options->name, config_directory(directory, sizeof(directory)));
    }
}

int show_main(int argc, char **argv)
{
    struct options options;
    char sentence[BACKING_SENTENCE_BYTES];
    struct config config = {.n_files = 0};
    struct origins origins = {.n = 0};
    struct complaints complaints = {.say = command_line_complain};
    command_line_read_files(&config, argc, argv, &complaints);
    command_line_read(&options, argc, argv, &config, &origins, &complaints);
    if (complaints.n == 0 && options.dump) {
        config_print(stdout, &options, &origins);
    } else if (complaints.n == 0) {
        show_files(&config, &options);
    }
    if (complaints.n == 0 && backing_check(&options, sentence) == -ENXIO) {
        complaints_add(&complaints, "%s", sentence);
    }
    const bool is_written = fflush(stdout) == 0 && !ferror(stdout);
    if (!is_written) {
        perror("kmemd: what was asked for can not be written");
    }
    origins_fini(&origins);
    config_fini(&config);
    return complaints.n > 0 ? EXIT_USAGE : is_written ? 0 : EXIT_SYSTEM;
}
