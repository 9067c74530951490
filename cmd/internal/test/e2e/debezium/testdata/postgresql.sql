CREATE TYPE gender_t AS ENUM ('M', 'F', 'X');
CREATE TABLE employees (
  emp_no           varchar(10) PRIMARY KEY,
  crm_open_user_id varchar(40) UNIQUE,
  full_name        varchar(80) NOT NULL,
  nickname         varchar(40),
  title            varchar(80),
  gender           gender_t,
  mobile           varchar(24) UNIQUE,
  email            varchar(120),
  dept_id          int,
  extra_depts      int[],
  hire_date        date,
  birth_date       date,
  updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  salary           numeric(12, 2),
  bio              text);
-- large values leave the row, and are not compressed
ALTER TABLE employees ALTER COLUMN bio SET STORAGE EXTERNAL, ALTER COLUMN extra_depts SET STORAGE EXTERNAL;
CREATE TABLE dbz_signal (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON employees FOR EACH ROW EXECUTE FUNCTION touch();
