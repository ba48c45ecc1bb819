/* In place of GNU readline, which the `mariadb` client includes: a line of standard input, without editing or history. */
#include <stdio.h>
#include <stdlib.h>

static char *readline(const char *prompt)
{
  char *line = NULL;
  size_t size = 0;
  ssize_t length;
  fputs(prompt, stdout);
  fflush(stdout);
  if ((length = getline(&line, &size, stdin)) < 0)
  {
    free(line);
    return NULL;
  }
  if (length > 0 && line[length - 1] == '\n')
    line[length - 1] = 0;
  return line;
}

/* Of a line that cannot be edited there is nothing to redraw. */
static inline void rl_on_new_line(void) {}
static inline void rl_replace_line(const char *text, int clear) { (void) text; (void) clear; }
static inline void rl_redisplay(void) {}
