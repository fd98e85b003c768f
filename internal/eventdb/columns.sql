-- The columns of both tables of events. Times are milliseconds since 1970; text that
-- SES did not give is ''. What is long and seldom alike is packed with zstd.
  account        VARCHAR NOT NULL,
  region         VARCHAR NOT NULL,
  key            UBIGINT NOT NULL,  -- events.Event.Key
  number         BIGINT  NOT NULL,  -- events.MessageNumber of message_id: near each other for mail of one time
  recipient      UBIGINT NOT NULL,  -- a hash of message_id and destination
  message_id     VARCHAR NOT NULL,
  destination    VARCHAR NOT NULL,
  type           VARCHAR NOT NULL,
  time           BIGINT  NOT NULL,
  arrived        BIGINT  NOT NULL,  -- when it was stored; greater in each transaction
  sent           BIGINT  NOT NULL,
  sender         VARCHAR NOT NULL,
  subject        VARCHAR NOT NULL,
  configuration_set VARCHAR NOT NULL,
  identity       VARCHAR NOT NULL,
  isp            VARCHAR NOT NULL,
  tags           VARCHAR NOT NULL,  -- JSON
  multi          BOOLEAN NOT NULL,
  simulator      BOOLEAN NOT NULL,
  bounce_type    VARCHAR NOT NULL,
  sub_type       VARCHAR NOT NULL,
  diagnostic     VARCHAR NOT NULL,
  feedback_type  VARCHAR NOT NULL,
  delay_type     VARCHAR NOT NULL,
  link           VARCHAR NOT NULL,
  user_agent     VARCHAR NOT NULL,
  ip             VARCHAR NOT NULL,
  feedback_id    VARCHAR NOT NULL,
  details        VARCHAR NOT NULL USING COMPRESSION zstd   -- JSON
