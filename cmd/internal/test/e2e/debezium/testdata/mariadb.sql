CREATE TABLE employees (
  emp_no           varchar(10) PRIMARY KEY,
  crm_open_user_id varchar(40) UNIQUE,
  full_name        varchar(80) NOT NULL,
  nickname         varchar(40),
  title            varchar(80),
  gender           enum('male', 'female', 'other'),
  mobile           varchar(24) UNIQUE,
  email            varchar(120),
  dept_id          int,
  extra_depts      varchar(4000),
  hire_date        datetime,
  birth_date       date,
  updated_at       timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
  salary           decimal(12, 2),
  bio              mediumtext) CHARACTER SET utf8mb4;
CREATE TABLE dbz_signal (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
